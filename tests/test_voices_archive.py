"""Export files: round trip, and everything a file from a stranger can try."""

import io
import json
import zipfile

import numpy as np
import pytest
from voice_tools import add_human, consent_for, files_in, library_in, record_of, recording

from errors import InputError
from speech.pcm import Audio
from voices.archive import MOST_IN_ARCHIVE, export_voices, import_voices
from voices.record import encode


@pytest.fixture(name="library")
def library_fixture(tmp_path):
    return library_in(tmp_path / "here")


@pytest.fixture(name="elsewhere")
def elsewhere_fixture(tmp_path):
    return library_in(tmp_path / "elsewhere")


def members_of(*voices):
    """What an export of (record, audio) pairs has in it."""
    members = {
        "parley-voices.json": json.dumps(
            {"format": "parley-voices", "version": 1, "voices": len(voices)}
        )
    }
    for number, (record, audio) in enumerate(voices, 1):
        members[f"{number}/voice.json"] = record.to_json()
        members[f"{number}/audio.flac"] = encode(audio)
    return members


def zipped(members, compression=zipfile.ZIP_STORED) -> io.BytesIO:
    """A zip of (name or ZipInfo, content) pairs or of a dict."""
    content = io.BytesIO()
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in pairs:
            archive.writestr(name, data)
    content.seek(0)
    return content


def one():
    """The members of a good export of one voice."""
    audio = recording()
    return members_of((record_of(audio, origin="recording", consent=consent_for(audio)), audio))


def refused(library, source, reason):
    with pytest.raises(InputError, match=reason):
        import_voices(library, source)
    assert files_in(library.folder) == set()


def test_round_trip(library, elsewhere, tmp_path):
    add_human(library, "Anna", recording(), transcript="Hello.", owner="anna")
    library.add("Made", recording(1), origin="synthetic", description="robot")
    library.get("Anna").keep("timbre-1", lambda: b"computed")
    path = tmp_path / "two.parleyvoices"
    export_voices(library, ["made", "anna", "Rowan"], path)
    done = import_voices(elsewhere, path, owner="berta")
    assert [voice.name for voice in done.voices] == ["Made", "Anna", "Rowan 2"]
    made, anna, rowan = (voice.record for voice in done.voices)
    assert anna.owner == "berta" and anna.imported and anna.transcript == "Hello."
    assert anna.consent == library.find("Anna").record.consent
    assert anna.consent_note == "Imported, consent recorded elsewhere on 20 November 2026."
    assert made.description == "robot" and rowan.origin == "synthetic"
    assert done.notes == (
        "Anna: Imported, consent recorded elsewhere on 20 November 2026.",
        "There was a voice 'Rowan' already; this one is 'Rowan 2'.",
    )
    for name in ("Made", "Anna"):
        before, after = library.get(name).audio, elsewhere.get(name).audio
        assert np.array_equal(before.samples, after.samples)
    assert "anna" not in {voice.record.owner for voice in elsewhere.voices()}


def test_importing_twice_numbers_the_names(library, tmp_path):
    add_human(library, "Anna", recording())
    path = tmp_path / "anna.parleyvoices"
    export_voices(library, ["Anna"], path)
    for number in (2, 3):
        done = import_voices(library, path)
        assert done.voices[0].name == f"Anna {number}"
        assert f"this one is 'Anna {number}'" in done.notes[0]


def test_two_voices_of_one_name_in_a_file(elsewhere):
    voices = [(record_of(recording(n), "Twin"), recording(n)) for n in range(3)]
    done = import_voices(elsewhere, zipped(members_of(*voices)))
    assert [voice.name for voice in done.voices] == ["Twin", "Twin 2", "Twin 3"]


def test_the_same_voices_make_the_same_file(library, tmp_path):
    add_human(library, "Anna", recording())
    first, second = io.BytesIO(), io.BytesIO()
    export_voices(library, ["Anna"], first)
    export_voices(library, ["Anna"], second)
    assert first.getvalue() == second.getvalue()


def test_export_of_what_is_not_there(library, tmp_path):
    target = tmp_path / "out.parleyvoices"
    target.write_text("what was there")
    add_human(library, "Anna", recording())
    add_human(library, "Broken", recording(1)).path.write_bytes(b"no sound")
    for names, reason in [
        ([], "No voice is chosen"),
        (["Anna", "Nobody"], "no voice 'Nobody'"),
        (["Anna", "Broken"], "'Broken' cannot be exported"),
        (["Anna"] * (MOST_IN_ARCHIVE + 1), "one file holds 64"),
    ]:
        with pytest.raises(InputError, match=reason):
            export_voices(library, names, target)
    assert target.read_text() == "what was there"


def test_good_file_is_good(elsewhere):
    """The files below are refused for what they say, not for how they are made here."""
    assert import_voices(elsewhere, zipped(one(), zipfile.ZIP_DEFLATED)).voices


def test_human_voice_without_consent(elsewhere, tmp_path):
    audio = recording()
    human = record_of(audio, origin="upload")
    refused(elsewhere, zipped(members_of((human, audio))), "there is no consent with it")
    other = record_of(audio, origin="upload", consent=consent_for(recording(1)))
    refused(elsewhere, zipped(members_of((other, audio))), "given for another recording")
    open_gate = library_in(tmp_path / "elsewhere", consent=False)
    assert import_voices(open_gate, zipped(members_of((human, audio)))).voices


def test_all_or_nothing(elsewhere):
    good = [(record_of(recording(n), f"Voice {n}"), recording(n)) for n in range(3)]
    bad = record_of(recording(9), "Bad", origin="upload")
    refused(elsewhere, zipped(members_of(*good, (bad, recording(9)))), "'Bad'")
    assert not list(elsewhere.folder.glob(".staged-*"))


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "1/../../evil",
        "/etc/evil",
        "\\evil",
        "C:\\evil",
        "C:/evil",
        "..\\..\\evil",
    ],
)
def test_members_that_point_outside(elsewhere, tmp_path, name):
    before = files_in(tmp_path)
    refused(elsewhere, zipped({**one(), name: b"evil"}), "was refused")
    assert files_in(tmp_path) == before | {"elsewhere/library/.lock"} & files_in(tmp_path)


def test_links_and_folders(elsewhere):
    # A folder is none of what an export has either.
    for mode in (0o120777, 0o040755, 0o010644):
        info = zipfile.ZipInfo("1/audio.flac")
        info.external_attr = mode << 16
        members = [(n, d) for n, d in one().items() if n != "1/audio.flac"]
        refused(elsewhere, zipped([*members, (info, b"/etc/passwd")]), "no plain file")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "no export of voices"),
        (b"PK\x05\x06" + bytes(18), "parley-voices.json is missing"),
        (b"not a zip at all" * 100, "no export of voices"),
        (zipped({"photo.jpg": b"x"}).getvalue(), "parley-voices.json is missing"),
        (zipped(one()).getvalue()[:-30], "only a part of one"),
        (zipped(one()).getvalue()[: len(zipped(one()).getvalue()) // 2], "only a part of one"),
    ],
)
def test_what_is_no_export(elsewhere, source, reason):
    refused(elsewhere, io.BytesIO(source), reason)


@pytest.mark.parametrize("name", ["1/audio.flac", "1/voice.json", "parley-voices.json"])
def test_members_that_lack(elsewhere, name):
    members = one()
    del members[name]
    refused(elsewhere, zipped(members), "is missing")


@pytest.mark.parametrize("name", ["2/audio.flac", "readme.txt", "1/AUDIO.FLAC"])
def test_members_that_do_not_belong(elsewhere, name):
    refused(elsewhere, zipped({**one(), name: b""}), "does not belong there")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(elsewhere):
    refused(elsewhere, zipped([*one().items(), ("1/audio.flac", b"x")]), "two members of one name")


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 50_000, "no JSON"),
        (b"[]", "does not say so"),
        (b'{"format": "other"}', "does not say so"),
        (b'{"format": "parley-voices", "version": 2, "voices": 1}', "newer Parley"),
        (b'{"format": "parley-voices", "version": "1", "voices": 1}', "wrong values"),
        (b'{"format": "parley-voices", "version": true, "voices": 1}', "wrong values"),
        (b'{"format": "parley-voices", "version": 1, "voices": 0}', "wrong values"),
        (b'{"format": "parley-voices", "version": 1, "voices": -1}', "wrong values"),
        (b'{"format": "parley-voices", "version": 1, "voices": 1e9}', "wrong values"),
        (b'{"format": "parley-voices", "version": 1, "voices": 1000000000}', "more than 64"),
        (b'{"format": "parley-voices", "version": 1, "voices": 2}', "is missing"),
        (b" " * 100_000, "larger than 65536"),
    ],
)
def test_index_of_wrong_types(elsewhere, index, reason):
    refused(elsewhere, zipped({**one(), "parley-voices.json": index}), reason)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "voice 1"),
        (b"[1, 2]", "voice 1"),
        (b'{"name": "x"}', "voice 1"),
        (b"[" * 50_000, "voice 1"),
        (record_of(recording()).to_json().replace(b'"Anna"', b'"../x"'), "cannot have '/'"),
        (record_of(recording()).to_json().replace(b'"Anna"', b"7"), "voice 1 in this file: name"),
        (record_of(recording(7)).to_json(), "not the one of its record"),
    ],
)
def test_records_of_wrong_types(elsewhere, record, reason):
    refused(elsewhere, zipped({**one(), "1/voice.json": record}), reason)


def flac_of_hours() -> bytes:
    return encode(Audio(np.zeros(16_000 * 3600, np.float32), 16_000))


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (b"", "damaged"),
        (b"RIFF", "damaged"),
        (encode(recording())[:5000], "'Anna' in this file"),
        (encode(recording(5)), "not the one of its record"),
        (flac_of_hours(), "too long"),
    ],
)
def test_recordings_of_wrong_content(elsewhere, audio, reason):
    refused(elsewhere, zipped({**one(), "1/audio.flac": audio}), reason)


def test_voice_that_is_too_short(elsewhere):
    audio = recording(seconds=1)
    refused(elsewhere, zipped(members_of((record_of(audio), audio))), "3 to 30 s")


def test_zip_bombs(elsewhere):
    bomb = zipped({**one(), "1/audio.flac": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert bomb.getbuffer().nbytes < 500_000
    refused(elsewhere, bomb, "larger than")
    many = zipped({**one(), **{f"{n}": b"" for n in range(1000)}})
    refused(elsewhere, many, "more than 64 voices")
    huge = {**one(), **{f"{n}/audio.flac": bytes(30_000_000) for n in range(2, 10)}}
    refused(elsewhere, zipped(huge, zipfile.ZIP_DEFLATED), "Unpacked, this file has more")


def test_sizes_that_lie(elsewhere):
    """The sizes in the directory of the zip say little, the content is large."""
    content = bytearray(
        zipped({**one(), "1/audio.flac": bytes(50_000_000)}, zipfile.ZIP_DEFLATED).getvalue()
    )
    true, lie = (50_000_000).to_bytes(4, "little"), (5000).to_bytes(4, "little")
    assert content.count(true) == 2
    refused(elsewhere, io.BytesIO(bytes(content.replace(true, lie))), "damaged|refused|imported")


def test_encrypted_member(elsewhere):
    content = bytearray(zipped(one()).getvalue())
    # The flag of encryption, in the local header and in the directory of the first member.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(elsewhere, io.BytesIO(bytes(content)), "encrypted")


def test_any_byte_damaged_is_refused_or_harmless(elsewhere, tmp_path):
    """Every seventh byte of a file, flipped one at a time: refused, or the voice is as it was."""
    whole = zipped(one()).getvalue()
    sound = whole.index(b"fLaC")
    # Within the sound every 4001st byte: the checksum of the zip covers it all alike.
    places = [*range(0, sound, 7), *range(sound, len(whole) - 600, 4001)]
    places += range(len(whole) - 600, len(whole), 7)
    imported = 0
    for place in places:
        content = bytearray(whole)
        content[place] ^= 0x10
        try:
            done = import_voices(elsewhere, io.BytesIO(bytes(content)))
        except InputError:
            continue
        imported += 1
        assert np.array_equal(
            elsewhere.get(done.voices[0].name).audio.samples,
            encode_decode(recording()).samples,
        )
    assert imported < len(places) / 2
    assert len(elsewhere.voices()) == imported + 1


def encode_decode(audio):
    return Audio.from_pcm16(audio.pcm16(), audio.rate)


def test_files_that_cannot_be_read(elsewhere, tmp_path):
    refused(elsewhere, tmp_path / "nothing.parleyvoices", "cannot read nothing.parleyvoices")
    refused(elsewhere, tmp_path, "cannot read")


def test_file_that_is_too_large(elsewhere, tmp_path):
    path = tmp_path / "large.parleyvoices"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    refused(elsewhere, path, "300 MB; 200 MB is the limit")


def test_more_voices_than_there_is_room_for(tmp_path):
    library = library_in(tmp_path, most=2)
    voices = [(record_of(recording(n), f"Voice {n}"), recording(n)) for n in range(3)]
    refused(library, zipped(members_of(*voices)), "2 voices at most")
