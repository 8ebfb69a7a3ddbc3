"""A model of the user's own, from a file or from the Hub."""

import pytest
from weights_servers import (
    COMMIT,
    model_info,
    noise,
    nowhere_fixture,  # noqa: F401  (a fixture)
    server_fixture,  # noqa: F401  (a fixture)
)

from errors import InputError, UnavailableError
from weights import HubFile, LocalFile, Store, user_weights


def test_user_file_is_used_where_it_lies(tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF")
    mine = user_weights(str(path))
    assert mine == LocalFile(path)
    shelf = Store(tmp_path / "store")
    assert shelf.ensure(mine) == shelf.path(mine) == path
    assert (shelf.size(mine), shelf.missing(mine)) == (4, ())
    assert sorted(tmp_path.iterdir()) == [path]
    path.unlink()
    assert shelf.path(mine) is None
    with pytest.raises(UnavailableError, match="no longer"):
        shelf.ensure(mine)


@pytest.mark.parametrize(
    "spec", ["", "nowhere/at-all.gguf", "/no/such.gguf", "word", "a/b/../c.gguf", "a/b/model.bin"]
)
def test_what_is_no_model(spec):
    with pytest.raises(InputError, match=r"neither an existing .gguf file nor a Hub id"):
        user_weights(spec)


def test_other_file_is_no_model(tmp_path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(InputError, match=r"not a .gguf file"):
        user_weights(str(tmp_path / "model.bin"))


def test_user_model_from_the_hub(tmp_path, server):
    content = noise(200_000)
    model_info(server, "you/model", {"README.md": b"", "sub/model-Q8_0.gguf": content})
    chosen = user_weights("you/model/sub/model-Q8_0.gguf")
    assert chosen == HubFile("you/model", "sub/model-Q8_0.gguf")
    shelf = Store(tmp_path, endpoint=server.url)
    assert shelf.path(chosen) is None
    assert shelf.size(chosen) == len(content)
    path = shelf.ensure(chosen)
    assert path.read_bytes() == content
    # From then on it needs no network.
    asked = len(server.asked)
    assert (
        Store(tmp_path, offline=True).ensure(user_weights("you/model/sub/model-Q8_0.gguf")) == path
    )
    assert len(server.asked) == asked
    assert server.count("/api/models/you/model") == 1


def test_user_model_with_another_hash_than_the_hub_says(tmp_path, server):
    model_info(server, "you/model", {"model.gguf": noise(1000)})
    server.files[f"/you/model/resolve/{COMMIT}/model.gguf"] = noise(1000, seed=9)
    with pytest.raises(UnavailableError, match=r"refused"):
        Store(tmp_path, endpoint=server.url).ensure(user_weights("you/model"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["only.gguf", "mmproj-model.gguf"], "only.gguf"),
        (["m.Q2_K.gguf", "m.Q4_K_M.gguf", "m.Q8_0.gguf"], "m.Q4_K_M.gguf"),
        (["m.Q2_K.gguf", "m.Q8_0.gguf"], None),
        (["a-q4_k_m.gguf", "b-q4_k_m.gguf"], None),
        (["m-q4_k_m-00001-of-00002.gguf", "m-q4_k_m-00002-of-00002.gguf"], None),
        (["README.md"], None),
    ],
)
def test_choice_among_the_files_of_a_repository(tmp_path, server, names, chosen):
    model_info(server, "you/model", {name: name.encode() for name in names})
    shelf = Store(tmp_path, endpoint=server.url)
    if chosen is None:
        with pytest.raises(InputError, match=r"Name one GGUF file of you/model"):
            shelf.ensure(user_weights("you/model"))
    else:
        assert shelf.ensure(user_weights("you/model")).name == chosen


def test_unknown_repository_and_unreachable_hub(tmp_path, server, nowhere):
    with pytest.raises(InputError, match=r"you/none is not on the Hugging Face Hub"):
        Store(tmp_path, endpoint=server.url).ensure(user_weights("you/none"))
    with pytest.raises(UnavailableError, match=r"you/model cannot be looked up"):
        Store(tmp_path, endpoint=nowhere).ensure(user_weights("you/model"))
    with pytest.raises(UnavailableError, match=r"offline"):
        Store(tmp_path, offline=True).ensure(user_weights("you/model"))
