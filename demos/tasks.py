"""The four things that can be asked in the chat tab, and what the page says of them."""

from engines.base import Task

TASKS: dict[str, Task] = {"Spoken QA": "sqa", "ASR": "asr", "TTS": "tts", "Text": "text"}
EMPTY: dict[Task, str] = {
    "sqa": "### Ask something\nRecord a question, choose a sound file, or type. "
    "The answer is spoken while it is still being written.",
    "asr": "### Speech to text\nRecord or choose a sound file. "
    "You get its words, with their times as subtitles.",
    "tts": "### Text to speech\nType or paste a text. You hear the first words at once.",
    "text": "### Text chat\nThe chat model alone, without a voice.",
}
NOTHING: dict[Task, str] = {
    "sqa": "Record or type a question first, or show something.",
    "asr": "Record something or choose a sound file first.",
    "tts": "Type a text first.",
    "text": "Type something first, or show something.",
}
TAKES_SOUND = {"sqa", "asr"}
TAKES_TEXT = {"sqa", "tts", "text"}
TAKES_SIGHT = {"sqa", "text"}
GIVES_SOUND = {"sqa", "tts"}
