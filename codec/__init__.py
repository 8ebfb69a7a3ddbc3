"""GLM-4-Voice's speech codec: speech to codes at 12.5 Hz, and codes to speech.

VITA-Audio, GLM-4-Voice and OpenS2S share it. It is computed exactly as by the
published code (the reference), except where that is a mistake; and it streams.

    from codec.decoder import SpeechDecoder
    from codec.speech_tokenizer import SpeechTokenizer
    from codec.snapshots import DECODER, TOKENIZER
    from weights import Store

    store = Store(Path("data/weights"))
    tokenizer = SpeechTokenizer.load(store.ensure(TOKENIZER))
    codes = tokenizer.encode(samples, rate)

    decoder = SpeechDecoder.load(store.ensure(DECODER))
    audio = decoder.decode(codes)      # all at once
    stream = decoder.open()            # or while the codes are made
    first = stream.push(codes[:10])
    rest = stream.finish()

This package imports torch in its modules; nothing here may be imported by the
parts of Parley that run without it.
"""
