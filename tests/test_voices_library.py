"""The voice library: names, storing, renaming, deleting, features."""

import json
import threading
import unicodedata
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voice_tools import add_human, consent_for, files_in, library_in, record_of, recording

from errors import InputError
from speech.pcm import Audio
from voices.features import remembering
from voices.names import LONGEST_NAME, checked_name, name_key, numbered
from voices.record import LONGEST, Record, check_audio, content_hash, decode, encode


@pytest.fixture(name="library")
def library_fixture(tmp_path):
    return library_in(tmp_path)


def names(library):
    return [voice.name for voice in library.voices()]


def test_stored_voice_comes_back_as_it_was(library):
    audio = recording()
    stored = add_human(
        library,
        "  Anna   Müller ",
        audio,
        transcript="Good\nmorning.",
        description="calm",
        language="en",
        owner="anna",
    )
    assert stored.name == "Anna Müller" and stored.record.human and not stored.shipped
    assert stored.record.consent_note == "Consent recorded on 20 November 2026 by anna."
    voice = library.get("anna müller")
    assert (voice.name, voice.transcript) == ("Anna Müller", "Good morning.")
    assert voice.audio.rate == audio.rate
    np.testing.assert_allclose(voice.audio.samples, audio.samples, atol=1 / 32767)
    assert library.find("ANNA MÜLLER") == stored
    assert names(library) == ["Rowan", "Anna Müller"]


def test_another_process_sees_the_same(library, tmp_path):
    add_human(library, "Anna", recording())
    other = library_in(tmp_path)
    assert other.voices() == library.voices()
    other.rename("Anna", "Berta")
    assert names(library) == ["Rowan", "Berta"]


@pytest.mark.parametrize(
    "name",
    ["Ünï çödé", "安娜", "अन्ना", "آنا", "می‌خواهم", "क्‍ष", "Anna 2", "..anna..", "<b>", "CON", "a:b"],
)
def test_names_of_any_script(library, name):
    add_human(library, name, recording())
    assert library.get(name).name == unicodedata.normalize("NFC", name)
    assert files_in(library.folder) == {
        f"voices/{library.find(name).id}/{file}" for file in ("audio.flac", "voice.json")
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no name yet"),
        (" \n\t ", "no name yet"),
        ("x" * (LONGEST_NAME + 1), "61 characters"),
        ("../../etc", "cannot have '/'"),
        ("a\\b", "cannot have"),
        ("a\0b", r"U\+0000"),
        ("\u202egnp.anna", r"U\+202E"),
        ("an\u200bna", r"U\+200B"),
        ("anna\u200d", r"U\+200D"),
        ("\ud800", r"U\+D800"),
        ("...", "letter or digit"),
    ],
)
def test_names_that_are_refused(library, name, reason):
    with pytest.raises(InputError, match=reason):
        add_human(library, name, recording())
    with pytest.raises(InputError, match=reason):
        library.rename("Rowan", name)
    assert names(library) == ["Rowan"]


@given(st.text(max_size=80))
def test_any_name_is_taken_or_refused_and_stays_what_it_is(name):
    try:
        taken = checked_name(name)
    except InputError:
        return
    assert checked_name(taken) == taken
    assert name_key(taken) == name_key(name_key(taken))


def test_numbered_names_stay_within_the_limit():
    name = "x" * LONGEST_NAME
    taken = {name_key(name)}
    for _ in range(12):
        free = numbered(name, taken)
        assert len(free) <= LONGEST_NAME and name_key(free) not in taken
        taken.add(name_key(free))


@pytest.mark.parametrize("name", ["anna", "ANNA", "Ａnna", " Anna "])
def test_a_name_is_there_once_in_any_case(library, name):
    add_human(library, "Anna", recording())
    with pytest.raises(InputError, match="already"):
        add_human(library, name, recording(1))
    assert len(library.voices()) == 2


def test_names_of_engines_are_reserved(tmp_path):
    library = library_in(tmp_path, reserved=["heart"])
    with pytest.raises(InputError, match="already"):
        add_human(library, "Heart", recording())


def test_rename_keeps_the_voice_and_frees_the_name(library):
    stored = add_human(library, "Anna", recording())
    renamed = library.rename("anna", "Berta")
    assert (renamed.id, renamed.name) == (stored.id, "Berta")
    add_human(library, "Anna", recording(1))
    with pytest.raises(InputError, match="already"):
        library.rename("Berta", "ANNA")
    assert library.rename("Berta", "berta").name == "berta"
    assert names(library) == ["Rowan", "Anna", "berta"]


def test_deleting_erases_recording_record_and_features(library):
    add_human(library, "Anna", recording())
    assert library.get("Anna").keep("timbre-1", lambda: b"computed") == b"computed"
    assert any(name.startswith("features/") for name in files_in(library.folder))
    library.delete("Anna")
    assert files_in(library.folder) == set()
    assert names(library) == ["Rowan"]


def test_features_stay_while_another_voice_has_the_same_recording(library):
    audio = recording()
    add_human(library, "Anna", audio)
    add_human(library, "Berta", audio)
    library.get("Anna").keep("timbre-1", lambda: b"computed")
    library.delete("Anna")
    assert library.get("Berta").keep("timbre-1", lambda: pytest.fail("computed again")) == (
        b"computed"
    )
    library.delete("Berta")
    assert files_in(library.folder) == set()


def test_deleted_while_in_use(library, tmp_path):
    add_human(library, "Anna", recording())
    voice = library.get("Anna")
    library_in(tmp_path).delete("Anna")
    # What was handed out works, and leaves nothing of the voice behind.
    assert len(voice.audio) == 64_000
    assert voice.keep("timbre-1", lambda: b"computed") == b"computed"
    assert voice.keep("timbre-1", lambda: pytest.fail("computed again")) == b"computed"
    assert files_in(library.folder) == set()
    with pytest.raises(InputError, match="'anna' was deleted or renamed"):
        library.get("anna")
    with pytest.raises(InputError, match=r"no voice 'Berta' in the library. Voices: Rowan"):
        library.get("Berta")


def test_deleted_while_a_feature_is_computed(library):
    add_human(library, "Anna", recording())

    def compute():
        library.delete("Anna")
        return b"computed"

    assert library.get("Anna").keep("timbre-1", compute) == b"computed"
    assert files_in(library.folder) == set()


def test_features_are_kept_by_content_and_kind(library, tmp_path):
    add_human(library, "Anna", recording())
    library.get("Anna").keep("timbre-1", lambda: b"one")
    again = library_in(tmp_path).get("Anna")
    assert again.keep("timbre-1", lambda: pytest.fail("computed again")) == b"one"
    assert again.keep("timbre-2", lambda: b"two") == b"two"
    assert again.keep("../../x/..", lambda: b"three") == b"three"
    assert library.get("Anna").keep("../../x/..", lambda: b"no") == b"three"
    assert all(name.startswith(("features/", "voices/")) for name in files_in(library.folder))
    assert library.get("Rowan").keep("timbre-1", lambda: b"of Rowan") == b"of Rowan"


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 40])
def test_damaged_feature_is_computed_again(library, tmp_path, damage):
    add_human(library, "Anna", recording())
    library.get("Anna").keep("timbre-1", lambda: b"good")
    (path,) = (library.folder / "features").rglob("*.bin")
    path.write_bytes(damage)
    assert library.get("Anna").keep("timbre-1", lambda: b"new") == b"new"
    assert library.get("Anna").keep("timbre-1", lambda: b"newer") == b"new"


def test_a_feature_that_cannot_be_kept_is_not_fatal(library):
    add_human(library, "Anna", recording())
    (library.folder / "features").write_text("a file where a folder should be")
    assert library.get("Anna").keep("timbre-1", lambda: b"computed") == b"computed"


def test_references_to_one_recording_share_what_is_in_memory(library):
    add_human(library, "Anna", recording())
    first = library.get("Anna")
    first.keep("timbre-1", lambda: b"computed")
    for path in (library.folder / "features").rglob("*.bin"):
        path.unlink()
    assert library.get("Anna").keep("timbre-1", lambda: b"again") == b"computed"
    del first
    assert library.get("Anna").keep("timbre-1", lambda: b"again") == b"again"


def test_two_requests_at_once_compute_a_feature_once():
    begun, go = threading.Event(), threading.Event()
    calls = []

    def compute():
        calls.append(1)
        begun.set()
        go.wait()
        return b"computed"

    keep = remembering()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(keep("kind", compute))) for _ in range(4)
    ]
    threads[0].start()
    begun.wait()
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert results == [b"computed"] * 4 and calls == [1]


def test_shipped_voices_can_be_used_and_not_changed(library):
    assert library.get("rowan").transcript == "Hello from the house."
    with pytest.raises(InputError, match="comes with Parley and cannot be renamed"):
        library.rename("Rowan", "Anna")
    with pytest.raises(InputError, match="comes with Parley and cannot be deleted"):
        library.delete("Rowan")
    with pytest.raises(InputError, match="already"):
        add_human(library, "ROWAN", recording())
    with pytest.raises(InputError, match="come with Parley"):
        library.add("Anna", recording(), origin="shipped")


def test_only_the_owner_changes_a_voice(library):
    mine = add_human(library, "Anna", recording(), owner="anna")
    anyone = add_human(library, "Old", recording(1))
    assert not library.may_change(mine, "berta") and library.may_change(mine, "anna")
    # Without logins there is nobody to tell apart.
    assert library.may_change(mine, "") and library.may_change(anyone, "berta")
    for change in (lambda: library.delete("Anna", by="berta"), lambda: rename_by_berta(library)):
        with pytest.raises(InputError, match="stored by anna"):
            change()
    library.rename("Anna", "Anne", by="anna")
    library.delete("Anne", by="anna")
    library.delete("Old", by="berta")


def rename_by_berta(library):
    library.rename("Anna", "Mine", by="berta")


def test_human_voice_needs_a_consent_for_this_very_recording(library, tmp_path):
    audio = recording()
    for origin in ("recording", "upload"):
        with pytest.raises(InputError, match="voice of a person, and there is no consent"):
            library.add("Anna", audio, origin=origin)
        with pytest.raises(InputError, match="given for another recording"):
            library.add("Anna", audio, origin=origin, consent=consent_for(recording(1)))
    assert files_in(library.folder) == set()
    open_gate = library_in(tmp_path, consent=False)
    note = open_gate.add("Anna", audio, origin="upload").record.consent_note
    assert "consent check was off" in note
    assert "nobody's voice" in library.add("Made", audio, origin="synthetic").record.consent_note


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (recording(seconds=0.5), "500 ms long"),
        (recording(seconds=2.9), "3 to 30 s"),
        (recording(seconds=LONGEST + 1), "3 to 30 s"),
        (recording(seconds=600, rate=8000), "10 min long"),
        (Audio(np.zeros(80_000, np.float32), 16_000), "silent"),
        (Audio(np.full(80_000, np.nan, np.float32), 16_000), "no numbers"),
        (recording(rate=4000), "4000 Hz"),
        (recording(rate=192_000), "192000 Hz"),
    ],
)
def test_recordings_that_are_refused(library, audio, reason):
    with pytest.raises(InputError, match=reason):
        library.add("Anna", audio, origin="synthetic")
    assert files_in(library.folder) == set()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"transcript": "x" * 2001}, "The transcript has 2001"),
        ({"description": "x" * 301}, "The description has 301"),
        ({"language": "English"}, "no language code"),
    ],
)
def test_values_that_are_refused(library, values, reason):
    with pytest.raises(InputError, match=reason):
        library.add("Anna", recording(), origin="synthetic", **values)


def test_the_library_has_an_end(tmp_path):
    library = library_in(tmp_path, most=2)
    for number in range(2):
        add_human(library, f"Voice {number}", recording(number))
    with pytest.raises(InputError, match="2 voices at most"):
        add_human(library, "One more", recording(3))
    assert len(library.voices()) == 3


def test_what_is_foreign_in_the_folder_is_told_and_left_alone(library):
    stored = add_human(library, "Anna", recording())
    home = stored.path.parent.parent
    (home / "notes.txt").write_text("mine")
    (home / "empty").mkdir()
    for name, content in {"bad": "{", "list": "[]", "wrong": '{"name": 1}', "nul": "\0"}.items():
        (home / name).mkdir()
        (home / name / "voice.json").write_text(content)
    (home / "huge").mkdir()
    (home / "huge" / "voice.json").write_text(" " * 100_000)
    assert names(library) == ["Rowan", "Anna"]
    problems = "\n".join(library.problems())
    for name in ("notes.txt", "empty", "bad", "list", "wrong", "nul", "huge"):
        assert f"{home / name} " in problems or f"{home / name}:" in problems, name
    library.delete("Anna")
    assert (home / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", [b"", b"fLaC", b"no sound", None, "other"])
def test_damaged_recording_is_told(library, damage):
    stored = add_human(library, "Anna", recording())
    if damage is None:
        stored.path.unlink()
    else:
        whole = stored.path.read_bytes()
        other = encode(recording(5)) if damage == "other" else damage
        stored.path.write_bytes(other or whole[: len(whole) // 2])
    with pytest.raises(InputError, match="'Anna'"):
        library.get("Anna")
    library.delete("Anna")
    assert files_in(library.folder) == set()


def test_missing_folders_are_an_empty_library(tmp_path):
    library = library_in(tmp_path)
    assert names(library) == ["Rowan"] and library.problems() == ()
    assert not library.folder.exists(), "reading leaves no trace"


def test_record_survives_json():
    audio = recording()
    record = record_of(audio, "می‌خواهم", origin="recording", consent=consent_for(audio))
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"name": "a  b"},
        {"origin": "stolen"},
        {"sha256": "x" * 64},
        {"created": "yesterday"},
        {"seconds": "4"},
        {"seconds": float("nan")},
        {"rate": 1.5},
        {"rate": True},
        {"transcript": "a\u202eb"},
        {"transcript": None},
        {"language": "../"},
        {"consent": {}},
        {"consent": "yes"},
        {"consent": {**asdict(consent_for(recording())), "by": "a\u202eb"}},
        {"consent": {**asdict(consent_for(recording())), "sentence": "x" * 2001}},
        {"consent": {**asdict(consent_for(recording())), "given": "today"}},
        {"consent": {**asdict(consent_for(recording())), "match": float("inf")}},
        {"consent": {**asdict(consent_for(recording())), "similarity": "1"}},
        {"imported": "yes"},
    ],
)
def test_records_that_are_refused(change):
    values = json.loads(record_of(recording()).to_json())
    assert Record.from_json(json.dumps(values))
    with pytest.raises(ValueError):
        Record.from_json(json.dumps(values | change))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_refused(content):
    with pytest.raises(ValueError):
        Record.from_json(content)


def test_recordings_survive_flac_sample_by_sample():
    loud = Audio(np.array([-2, -1, -0.5, 0, 1e-5, 0.5, 1, 2] * 8000, np.float32), 22_050)
    again = decode(encode(loud))
    assert np.array_equal(again.pcm16(), loud.pcm16())
    assert content_hash(again) == content_hash(loud)
    assert content_hash(loud) != content_hash(Audio(loud.samples, 24_000))
    with pytest.raises(InputError):
        check_audio(again)
