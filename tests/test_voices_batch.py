"""Batches: reading the list of jobs, working it off, resuming."""

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from voice_tools import recording, small_disk_fixture  # noqa: F401  (a fixture)

from engines.base import Cancel
from engines.messages import AudioChunk
from errors import CancelledError, EngineError, InputError, UnavailableError
from speech.pcm import Audio
from voices.batch import file_names, run_batch, zip_batch
from voices.batch_jobs import Job, read_jobs
from voices.manifest import MANIFEST, Manifest
from voices.marks import Made, read_mark

JOBS = (
    Job(2, "Good morning.", "Anna", 1),
    Job(3, "Good evening.", "Rowan", None, "evening"),
    Job(4, "Good night."),
)


def written(tmp_path, content, name="jobs.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "text,voice\nHello,Anna\nBye,Rowan\n",
        "text;voice\r\nHello;Anna\r\nBye;Rowan",
        "voice\ttext\nAnna\tHello\nRowan\tBye\n",
        "\ufefftext,voice\nHello,Anna\n\n , \nBye,Rowan\n",
        " Text , VOICE ,seed,name\nHello,Anna,,\nBye,Rowan,,\n",
        '"text","voice"\n"Hello","Anna"\n"Bye",Rowan\n',
        '{"text": "Hello", "voice": "Anna"}\n\n{"text": "Bye", "voice": "Rowan", "seed": null}\n',
        '\ufeff{"text": "Hello", "voice": "Anna"}\r\n{"voice": "Rowan", "text": "Bye"}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_reading(tmp_path, content, encoding):
    content = content.removeprefix("\ufeff") if encoding == "utf-16" else content
    jobs = read_jobs(written(tmp_path, content.encode(encoding)))
    assert [(job.text, job.voice, job.seed) for job in jobs] == [
        ("Hello", "Anna", None),
        ("Bye", "Rowan", None),
    ]


def test_lines_are_those_of_the_file(tmp_path):
    content = 'text,voice,seed,name\n"Two\nlines, ""quoted""",Anna,7,first\n\nBye,,,\n'
    assert read_jobs(written(tmp_path, content)) == (
        Job(2, 'Two\nlines, "quoted"', "Anna", 7, "first"),
        Job(5, "Bye"),
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        ("text,voice\n", "only a header"),
        ("Hello,Anna\nBye,Rowan\n", "no column “text”"),
        ("voice,seed\nAnna,1\n", "no column “text”"),
        ("text,sead\nHello,1\n", "'sead' is not known"),
        ("text,text\nHello,Bye\n", "names a column twice"),
        ("text,voice\nHello,Anna\nBye\n", "Line 3: it has 1 fields, the header has 2"),
        ("text,voice\nHello, you,Anna\n", "Line 2: it has 3 fields"),
        ("text,voice\n ,Anna\n", "Line 2: it has no text"),
        ("text,seed\nHello,one\n", "Line 2: the seed 'one' is no whole number"),
        ("text,seed\nHello,1.5\n", "Line 2: the seed '1.5'"),
        ("text,seed\nHello,-1\n", "Line 2: the seed -1 is not between"),
        ("text,seed\nHello,99999999999\n", "Line 2: the seed"),
        (f"text\n{'x' * 1001}\n", "Line 2: the text has 1,001 characters; 1,000"),
        (f"text,voice\nHello,{'x' * 201}\n", "Line 2: the voice has 201"),
        ("text\n" + "Hello\n" * 21, "more than 20 jobs"),
        ('text,voice\nHello,"Anna\nBye,Rowan\n', "line 2: .*quotes"),
        ('text,voice\n"Hello" there,Anna\n', "line 2: .*quotes"),
        ("text,voice\nGrüße,Anna\n".encode("latin-1"), r"not UTF-8 \(line 2\)"),
        (b"text\nHello\n\xff\n", r"not UTF-8 \(line 3\)"),
        (b"\xff\xfet\x00e", "not UTF-8"),
        (b"text\nHel\0lo\n", "zero byte in line 2"),
        (b"RIFF\x00\x00\x00\x00WAVE", "zero byte in line 1"),
        ('{"text": "Hello"}\n[1]\n', "Line 2: it is no JSON object"),
        ('{"text": "Hello"}\n{"text": \n', "Line 2: it is no JSON"),
        ('{"text": "Hello"}\nHello\n', "Line 2: it is no JSON"),
        ("{" * 100_000, "Line 1: it is no JSON"),
        ('{"text": ' + "[" * 100_000, "Line 1: it is no JSON"),
        ('{"text": "Hello", "text": "Bye"}', "Line 1: it has a key twice"),
        ('{"text": "Hello", "speed": 2}', "Line 1: the key 'speed' is not known"),
        ('{"voice": "Anna"}', "Line 1: it has no text"),
        ('{"text": 5}', "Line 1: the text is no text but 5"),
        ('{"text": "Hello", "voice": ["Anna"]}', "Line 1: the voice is no text"),
        ('{"text": "Hello", "seed": true}', "Line 1: the seed True"),
        ('{"text": "Hello", "seed": 1.0}', "Line 1: the seed 1.0"),
        ('{"text": "Hello", "seed": NaN}', "Line 1: the seed nan"),
        ('{"text": "Hello", "seed": [1]}', "Line 1: the seed"),
    ],
)
def test_lists_that_are_refused(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason):
        read_jobs(written(tmp_path, content), max_text=1000, max_jobs=20)


def test_all_problems_are_told_at_once(tmp_path):
    content = "text,seed\n" + "Hello,x\n" * 15 + "Hello,1\n"
    with pytest.raises(InputError) as info:
        read_jobs(written(tmp_path, content))
    lines = str(info.value).splitlines()
    assert lines[0] == "jobs.csv was not started:" and lines[-1] == "And 5 more lines."
    assert len(lines) == 12 and lines[1].startswith("Line 2: ")


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(InputError, match="I cannot read"):
            read_jobs(path)
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(30_000_000)
    with pytest.raises(InputError, match="larger than 20 MB"):
        read_jobs(large)


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        jobs = read_jobs(path)
    except InputError:
        return
    assert all(job.text.strip() for job in jobs)


def test_half_a_surrogate_pair_is_mended(tmp_path):
    (job,) = read_jobs(written(tmp_path, '{"text": "a\\ud800b"}'))
    assert job.text == "a?b"


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=20), st.text(max_size=30))))
def test_names_of_files_are_safe_and_unique(rows):
    names = file_names([Job(1, text, voice, None, name) for text, voice, name in rows])
    assert len({name.casefold() for name in names}) == len(rows)
    for name in names:
        assert Path(name).name == name and name.endswith(".wav") and len(name.encode()) < 250
        assert name.isprintable()


def test_names_of_files():
    jobs = [
        Job(1, "Hello", name="../../etc/passwd"),
        Job(2, "Hello", name="a.wav"),
        Job(3, "Hello", name="A.WAV"),
        Job(4, "Hello", name="manifest.jsonl"),
        Job(5, "Good morning, all!", "Anna"),
        Job(6, "Good morning, all!", "Anna"),
        Job(7, "Good morning, all!", "Anna", 3),
    ]
    names = file_names(jobs)
    assert names[:4] == ["passwd.wav", "a.wav", "A-2.wav", "manifest.jsonl.wav"]
    assert names[4].startswith("Good_morning,_all-Anna-") and names[5] == names[4][:-4] + "-2.wav"
    assert names[6] not in names[4:6]
    # A line that is put in first changes no other name.
    assert file_names([Job(1, "New"), *jobs])[1:] == names


class Speaker:
    """Speaks a second of something for each word; notes what it was asked."""

    def __init__(self, **failures):
        self.asked = []
        self.failures = failures

    def __call__(self, text, voice, seed):
        self.asked.append((text, voice, seed))
        for number, _ in enumerate(text.split()):
            yield AudioChunk(recording(number, 1.0))
            failure = self.failures.get(voice or "default")
            if failure is not None and number == 0:
                raise failure


def states(steps):
    return [step.state for step in steps if step.state != "speaking"]


def test_a_batch(tmp_path):
    speaker = Speaker()
    steps = list(
        run_batch(
            JOBS,
            tmp_path,
            speaker,
            cancel=Cancel(),
            measure=lambda audio, voice: audio.seconds / 10,
            made=lambda job: Made("embedded", job.voice, "match", "2026-11-20", "Parley"),
        )
    )
    assert speaker.asked == [(job.text, job.voice, job.seed) for job in JOBS]
    assert [(s.number, s.state, s.seconds) for s in steps[:4]] == [
        (1, "speaking", 1.0),
        (1, "speaking", 2.0),
        (1, "done", 2.0),
        (2, "speaking", 1.0),
    ]
    assert all(step.total == 3 for step in steps)
    lines = [json.loads(line) for line in (tmp_path / MANIFEST).read_text().splitlines()]
    assert [line["file"] for line in lines] == file_names(JOBS)
    for line, job in zip(lines, JOBS, strict=True):
        assert line["status"] == "done" and line["seconds"] == 2 and line["similarity"] == 0.2
        assert line["text"] == job.text
        path = tmp_path / line["file"]
        samples, rate = soundfile.read(path, dtype="int16")
        expected = [recording(number, 1.0).pcm16() for number in range(2)]
        assert rate == 16_000 and np.array_equal(samples, np.concatenate(expected))
        assert read_mark(path).voice == job.voice
    assert not list(tmp_path.glob(".*"))


def test_resuming_keeps_what_is_whole(tmp_path):
    list(run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel()))
    names = file_names(JOBS)
    again = Speaker()
    steps = list(run_batch(JOBS, tmp_path, again, cancel=Cancel()))
    assert states(steps) == ["kept"] * 3 and again.asked == []
    assert steps[0].outcome.file == names[0]
    # A file that was damaged, one that is gone: both are made again.
    (tmp_path / names[0]).write_bytes((tmp_path / names[0]).read_bytes()[:-2])
    (tmp_path / names[1]).unlink()
    assert states(run_batch(JOBS, tmp_path, again, cancel=Cancel())) == ["done", "done", "kept"]


@pytest.mark.parametrize("change", [{"text": "Good day."}, {"voice": "Rowan"}, {"seed": 2}])
def test_a_job_that_changed_is_done_again(tmp_path, change):
    jobs = (Job(1, "Hello.", "Anna", 1, "same"), Job(2, "Bye."))
    list(run_batch(jobs, tmp_path, Speaker(), cancel=Cancel()))
    changed = (dataclasses.replace(jobs[0], **change), jobs[1])
    assert states(run_batch(changed, tmp_path, Speaker(), cancel=Cancel())) == ["done", "kept"]


def test_a_voice_that_changed_is_done_again(tmp_path):
    for fingerprint, expected in [("v1", "done"), ("v1", "kept"), ("v2", "done")]:
        steps = run_batch(
            JOBS[:1], tmp_path, Speaker(), cancel=Cancel(), fingerprint=lambda job, f=fingerprint: f
        )
        assert states(steps) == [expected]


def test_jobs_put_in_and_taken_out(tmp_path):
    list(run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel()))
    jobs = (Job(1, "New one."), *JOBS[1:])
    assert states(run_batch(jobs, tmp_path, Speaker(), cancel=Cancel())) == ["done", "kept", "kept"]
    assert [o.file for o in Manifest(tmp_path).outcomes] == file_names(jobs)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (EngineError("The model failed."), "The model failed."),
        (InputError("No such voice."), "No such voice."),
        (ValueError("secret detail"), "This went wrong inside Parley; the log says how."),
        (OSError(28, "of the engine"), "This went wrong inside Parley; the log says how."),
    ],
)
def test_one_that_fails_does_not_stop_the_others(tmp_path, failure, told):
    speaker = Speaker(Rowan=failure)
    steps = list(run_batch(JOBS, tmp_path, speaker, cancel=Cancel()))
    assert states(steps) == ["done", "failed", "done"]
    failed = [step.outcome for step in steps if step.state == "failed"]
    assert [outcome.error for outcome in failed] == [told]
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == sorted(
        [file_names(JOBS)[0], file_names(JOBS)[2]]
    )
    # The next run tries it again, and only it.
    assert states(run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel())) == ["kept", "done", "kept"]


def test_nothing_to_say_is_told(tmp_path):
    (step,) = run_batch([Job(1, "…")], tmp_path, lambda *request: iter(()), cancel=Cancel())
    assert step.outcome.error == "Nothing in this text can be spoken."


def test_speech_that_cannot_be_measured_is_kept(tmp_path):
    def measure(audio, voice):
        raise InputError("too little speech") if voice == "Anna" else ZeroDivisionError

    list(run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel(), measure=measure))
    outcomes = Manifest(tmp_path).outcomes
    assert [(o.status, o.similarity) for o in outcomes] == [("done", None)] * 3


def test_cancel_within_a_job(tmp_path):
    cancel = Cancel()
    steps = run_batch(JOBS, tmp_path, Speaker(), cancel=cancel)
    with pytest.raises(CancelledError):
        for step in steps:
            if step.number == 2:
                cancel.set()
    assert len(list(tmp_path.iterdir())) == 2, "the first file and the manifest, nothing else"
    again = Speaker()
    assert states(run_batch(JOBS, tmp_path, again, cancel=Cancel())) == ["kept", "done", "done"]


def test_closing_the_generator_frees_the_engine(tmp_path):
    closed = []

    def speak(text, voice, seed):
        try:
            yield AudioChunk(recording(seconds=1))
            yield AudioChunk(recording(seconds=1))
        finally:
            closed.append(text)

    steps = run_batch(JOBS, tmp_path, speak, cancel=Cancel())
    next(steps)
    steps.close()
    assert closed == ["Good morning."] and not list(tmp_path.iterdir())


def test_line_that_a_crash_cut_off(tmp_path):
    list(run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel()))
    path = tmp_path / MANIFEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"not ours\n" + lines[1] + lines[2][: len(lines[2]) // 2])
    steps = run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel())
    assert states(steps) == ["kept", "kept", "done"]
    assert path.read_bytes().count(b"\n") == 3


def test_manifest_is_written_as_jobs_end(tmp_path):
    steps = run_batch(JOBS, tmp_path, Speaker(), cancel=Cancel())
    for step in steps:
        if step.state == "done":
            assert len(Manifest(tmp_path).outcomes) == step.number
            break
    steps.close()
    (tmp_path / MANIFEST).write_bytes((tmp_path / MANIFEST).read_bytes()[:-1])
    list(run_batch(JOBS[1:2], tmp_path, Speaker(Rowan=InputError("no")), cancel=Cancel()))


def test_rates_that_change_within_a_reply(tmp_path):
    def speak(text, voice, seed):
        yield AudioChunk(recording(0, 1.0, 24_000))
        yield AudioChunk(recording(1, 1.0, 16_000))

    *_, step = run_batch(JOBS[:1], tmp_path, speak, cancel=Cancel())
    info = soundfile.info(tmp_path / step.outcome.file)
    assert (info.samplerate, info.frames) == (24_000, 48_000)


def test_zip(tmp_path):
    folder, target = tmp_path / "batch", tmp_path / "batch.zip"
    list(run_batch(JOBS, folder, Speaker(Rowan=InputError("no")), cancel=Cancel()))
    zip_batch(folder, target)
    names = file_names(JOBS)
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == [MANIFEST, names[0], names[2]]
        assert archive.testzip() is None
        assert archive.read(names[0]) == (folder / names[0]).read_bytes()
    (folder / names[0]).unlink()
    before = target.read_bytes()
    with pytest.raises(UnavailableError, match="The zip file was not written"):
        zip_batch(folder, target)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch", "batch.zip"]


def test_zip_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no finished job"):
        zip_batch(tmp_path, tmp_path / "batch.zip")


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UnavailableError, match=r"The batch was stopped.*is not a folder"):
        list(run_batch(JOBS, tmp_path / "file", Speaker(), cancel=Cancel()))


def test_empty_pieces_are_no_speech(tmp_path):
    def speak(text, voice, seed):
        yield AudioChunk(Audio(np.zeros(0, np.float32), 24_000))

    (*_, step) = run_batch(JOBS[:1], tmp_path, speak, cancel=Cancel())
    assert step.state == "failed"


def test_full_disk(small_disk):
    """It ends in the middle of a sound file; what was done stays, and is kept by the next run."""
    jobs = [Job(number, "one two three four five six", seed=number) for number in range(1, 20)]
    done = []
    with pytest.raises(UnavailableError, match=r"The batch was stopped: the disk of .* is full"):
        for step in run_batch(jobs, small_disk, Speaker(), cancel=Cancel()):
            if step.state == "done":
                done.append(step.outcome)
    assert 2 < len(done) < 8
    names = {outcome.file for outcome in done}
    assert {path.name for path in small_disk.iterdir()} == {MANIFEST, *names}
    for outcome in done:
        assert soundfile.info(small_disk / outcome.file).frames == 6 * 16_000
    (small_disk / done[0].file).unlink()
    steps = run_batch(jobs[: len(done)], small_disk, Speaker(), cancel=Cancel())
    assert states(steps) == ["done"] + ["kept"] * (len(done) - 1)
    with pytest.raises(UnavailableError, match="The zip file was not written: the disk"):
        zip_batch(small_disk, small_disk / "batch.zip")
    assert {path.name for path in small_disk.iterdir()} == {MANIFEST, *names}
