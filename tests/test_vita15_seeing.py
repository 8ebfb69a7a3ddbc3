"""VITA-1.5's eyes against what the published code gave for the same tiny weights."""

import hashlib
import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn import functional
from vita15_golden import DATA, FOLDER, arrays, close, meta

from codec.checkpoint import CheckpointError
from engines.images import Image
from engines.native.snapshot import Snapshot
from engines.vita.config import VisionConfig
from engines.vita.layout import VISION
from engines.vita.tiling import Lens, grid, middle, tiles, tiles_of
from engines.vita.vision import Vision

FEATURES = {"atol": 3e-4, "rtol": 1e-4}
SIZE = 56

#: Of the tiles that the published code cuts: of a picture of four tiles, and of one of one.
CUT = {
    "img2": "13bf2912aeb3f1d8e7b61c6d9e9b49e96dd2ecde97a980df9a069c121a229159",
    "img3": "71313f9033ad0555914ac8c5f52a88682ac9c6f59803c20c5b712907ff4ff7cf",
}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def picture(path):
    return np.asarray(Pillow.open(path).convert("RGB"))


def image(pixels):
    file = BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return Image(file.getvalue())


# Tiles


@pytest.mark.parametrize("name", CUT)
def test_tiles_are_those_of_the_published_code(name):
    cut = tiles(picture(FOLDER / "vision" / f"{name}.png"), SIZE)
    assert hashlib.sha256(cut.tobytes()).hexdigest() == CUT[name]


@pytest.mark.skipif(not DATA, reason="only in the whole data")
@pytest.mark.parametrize("name", ["img0", "img1", "img2", "img3"])
def test_tiles_and_their_values(name):
    wanted = arrays("vision")
    pixels = picture(FOLDER / "vision" / f"{name}.png")
    assert np.array_equal(tiles(pixels, SIZE), wanted[f"{name}.tiles_uint8"].numpy())
    assert len(wanted[f"{name}.tiles_uint8"]) == tiles_of(pixels.shape[1], pixels.shape[0], SIZE)
    lens = Lens.read(FOLDER / "vision" / "vision_tower", SIZE)
    close(torch.from_numpy(lens.image(image(pixels))), wanted[f"{name}.pixel_values"], 1e-5)


@pytest.mark.skipif(not DATA, reason="only in the whole data")
def test_a_moment_of_a_video_is_one_tile():
    lens = Lens.read(FOLDER / "vision" / "vision_tower", SIZE)
    made = lens.frame(image(picture(FOLDER / "vision" / "frame.png")))
    close(torch.from_numpy(made), arrays("vision")["frame.pixel_values"], 1e-5)


def test_grids():
    cases = json.loads((FOLDER / "prompt" / "expected.json").read_text())["tiling_448"]
    assert len(cases) > 5
    for case in cases:
        for name, wanted in case.items():
            if not name.startswith("max"):
                continue
            most = int(name.removeprefix("max"))
            assert list(grid(*case["size"], 448, most)) == wanted["grid_w_h"], case["size"]
            assert tiles_of(*case["size"], 448, most) == wanted["tiles"]
            assert wanted["tiles"] * VisionConfig().tokens == wanted["tokens"]


def test_order_of_tiles():
    """Row by row, then all of it."""
    pixels = np.zeros((SIZE, 2 * SIZE, 3), np.uint8)
    pixels[:, SIZE:] = 200
    left, right, whole = tiles(pixels, SIZE)
    assert left.max() < 20
    assert right.min() > 180
    assert whole[:, : SIZE // 2 - 3].max() < 20
    assert whole[:, SIZE // 2 + 3 :].min() > 180


@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (64, 64), (1, 5000), (5000, 1), (3, 3)])
def test_middles(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[shape[0] // 2, shape[1] // 2] = 255
    made = middle(pixels, SIZE)
    assert made.shape == (SIZE, SIZE, 3)
    assert made.max() > 50


def test_pictures_of_any_shape():
    lens = Lens(SIZE)
    for shape in ((1, 1), (1, 3000), (3000, 1), (57, 56)):
        pixels = np.full((*shape, 3), 128, np.uint8)
        for made in (lens.image(image(pixels)), lens.frame(image(pixels))):
            assert made.dtype == np.float32
            assert made.shape[1:] == (3, SIZE, SIZE)
            assert np.allclose(made[:, 0], (128 / 255 - 0.485) / 0.229, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 224}, "takes 56"),
        ({"crop_size": {"height": 56, "width": 224}}, "takes 56"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
    ],
)
def test_other_preprocessing_is_refused(tmp_path, change, words):
    good = {"size": 56, "crop_size": 56, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(good))
    assert Lens.read(tmp_path, 56).mean == (0.5, 0.5, 0.5)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(good | change))
    with pytest.raises(CheckpointError, match=words):
        Lens.read(tmp_path, 56)


# The encoder


def encoder():
    folder = FOLDER / "vision"
    snapshot = Snapshot(folder)
    config = VisionConfig.read(folder / "vision_tower")
    hidden = snapshot.shapes["model.mm_projector.2.bias"][0]
    with torch.device("meta"):
        vision = Vision(config, hidden)
    others = rf"(?!{VISION}).+"
    snapshot.load(vision, device="cpu", dtype=torch.float32, names=vision.names(), ignored=others)
    return vision.eval()


@pytest.mark.skipif(not DATA, reason="only in the whole data")
@pytest.mark.parametrize("name", ["img0", "img1", "img2", "img3"])
def test_encoder(name):
    vision, wanted = encoder(), arrays("vision")
    seen = {}
    vision.tower.register_forward_hook(
        lambda _, __, out: seen.__setitem__("last_hidden", out.last_hidden_state)
    )
    vision.first.register_forward_pre_hook(
        lambda _, given: seen.__setitem__("pixel_shuffled", given[0])
    )
    made = vision(wanted[f"{name}.pixel_values"])
    close(made, wanted[f"{name}.projected"], **FEATURES)
    for part, got in seen.items():
        expected = wanted[f"{name}.{part}"]
        close(got[: len(expected)], expected, **FEATURES)
    tokens = {entry["file"]: entry["image_tokens"] for entry in meta("vision")["images"]}
    assert made.shape[0] * made.shape[1] == tokens[f"{name}.png"]


def plainly(tensors, config, tiles):
    """The encoder and projector from tensors under the published names, without transformers."""

    def norm(rows, name):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return functional.layer_norm(rows, rows.shape[-1:], weight, bias, config.eps)

    def linear(rows, name):
        return functional.linear(rows, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    tower = "model.vision_tower.vision_tower."
    patch = f"{tower}embeddings.patch_embedding"
    maps = functional.conv2d(
        tiles, tensors[f"{patch}.weight"], tensors[f"{patch}.bias"], stride=config.patch
    )
    rows = maps.flatten(2).transpose(1, 2)
    first = tensors[f"{tower}embeddings.class_embedding"].expand(len(rows), 1, -1)
    rows = torch.cat((first, rows), dim=1) + tensors[f"{tower}embeddings.position_embedding"]
    for number in range(config.layers):
        layer = f"{tower}encoder.layers.{number}"
        fused = linear(norm(rows, f"{layer}.norm1"), f"{layer}.attn.qkv")
        q, k, v = fused.unflatten(-1, (3, config.heads, -1)).permute(2, 0, 3, 1, 4)
        shares = (q @ k.mT / (q.shape[-1] ** 0.5)).softmax(-1)
        out = linear((shares @ v).transpose(1, 2).flatten(2), f"{layer}.attn.proj")
        rows = rows + tensors[f"{layer}.ls1"] * out
        inner = functional.gelu(linear(norm(rows, f"{layer}.norm2"), f"{layer}.mlp.fc1"))
        rows = rows + tensors[f"{layer}.ls2"] * linear(inner, f"{layer}.mlp.fc2")
    half, side = rows[:, 1:] * 0.5, config.side
    merged = torch.stack(
        [
            torch.cat([half[:, (2 * r + i) * side + 2 * c + j] for i in (0, 1) for j in (0, 1)], -1)
            for r in range(side // 2)
            for c in range(side // 2)
        ],
        dim=1,
    )
    return linear(functional.gelu(linear(merged, "model.mm_projector.0")), "model.mm_projector.2")


def test_encoder_is_its_formula():
    """Under the published names, with queries, keys and values in one tensor."""
    config = VisionConfig(width=24, heads=3, inner=40, layers=2, size=56, patch=14)
    torch.manual_seed(2)
    vision = Vision(config, 20).eval()
    for parameter in vision.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    stored = {}
    for own, tensor in vision.state_dict().items():
        source = vision.names()[own]
        if isinstance(source, str):
            stored[source] = tensor
        else:
            fused = stored.setdefault(source.name, torch.zeros(source.total, *tensor.shape[1:]))
            fused[source.first : source.first + len(tensor)] = tensor
    tiles = torch.randn(2, 3, 56, 56)
    made = vision(tiles)
    assert made.shape == (2, config.tokens, 20)
    close(made, plainly(stored, config, tiles), 1e-4, 1e-4)
