"""Every knob of Parley, once: environment (`PARLEY_...`), `.env`, command line."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Where weights, voices and histories live unless told otherwise.
DEFAULT_DATA = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "parley"

MEGABYTE = 1_000_000

#: Of Parley, for what is kept for long: consent records and the marks of sound files.
VERSION = "0.1.0"


class Settings(BaseSettings):
    """What can be set, with its default and what it does.

    `PARLEY_PORT=8000`, a line `PARLEY_PORT=8000` in `.env` and `--port 8000`
    mean the same; the command line wins, then the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_", env_file=".env", extra="ignore", frozen=True
    )

    # Gradio's own variables are the defaults: a Space says there where it has to listen.
    host: str = Field(
        os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        description="Address to listen on; 0.0.0.0 for every one.",
    )
    port: int = Field(
        int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one.",
    )
    share: bool = Field(False, description="Also open a public Gradio link.")
    auth: str = Field("", repr=False, description="Logins as user:password, separated by commas.")
    engine: str = Field("embedded", description="The engine that is selected at start.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where models run.")
    chat_model: str = Field(
        "default",
        description="Chat model of the embedded engine: default, small, the path of a GGUF file, "
        "or a Hub id (owner/repo/file.gguf).",
    )
    chat_url: str = Field(
        "",
        description="Address of an OpenAI-style API (http://host:8000/v1); its chat model, with "
        "the embedded ears and voice, is the engine `remote`. Several with commas: the next is "
        "tried when one is down. Its key is PARLEY_CHAT_KEY in the environment.",
    )
    chat_name: str = Field("", description="The model there; empty takes the first it lists.")
    chat_sees: bool = Field(False, description="The model there looks at pictures.")
    engines: Path | None = Field(
        None,
        description="File with more engines on other machines; else engines.toml in the data "
        "folder, if there is one.",
    )
    threads: int = Field(
        0, ge=0, le=256, description="CPU threads of each model; 0 takes all physical cores."
    )
    offline: bool = Field(False, description="Never fetch anything; say what is missing.")
    data: Path = Field(DEFAULT_DATA, description="Folder for weights and everything kept.")
    memory_budget: int = Field(
        0, ge=0, description="Bytes that loaded models may take; 0: 80 % of the free memory."
    )
    gpu_memory_budget: int = Field(
        0, ge=0, description="The same of each GPU; 0: 92 % of what is free on it."
    )
    agree: str = Field(
        "",
        description="Engines to whose terms you agree, separated by commas; the page asks for "
        "those of the others before it loads them.",
    )
    idle_unload: float = Field(
        1800.0, ge=0, description="Seconds after which an unused model is unloaded; 0: never."
    )
    vita_mode: Literal["auto", "vanilla", "balance", "boost", "turbo"] = Field(
        "auto",
        description="How VITA-Audio writes: vanilla is the most careful, turbo the fastest; auto "
        "is the mode that the checkpoint was made for. Recognition is always vanilla.",
    )
    vita_persona: str = Field(
        "Luke, male",
        description="Whom VITA-Audio plays when it answers: a name, and male or female.",
    )
    vita_precision: Literal["full", "int8", "int4"] = Field(
        "full", description="Weights of VITA-Audio: full is bfloat16; int8 and int4 take torchao."
    )
    vita_window: int = Field(
        4096,
        ge=64,
        le=32_768,
        description="Tokens that VITA-Audio keeps of a conversation with its reply; its memory "
        "grows with that.",
    )
    vita_users: int = Field(4, ge=1, description="Replies that VITA-Audio makes at once.")
    vita_url: str = Field(
        "",
        description="Address of a vLLM server that runs VITA-Audio's language model "
        "(http://host:8000/v1), several with commas; empty: it runs here. Its key is "
        "PARLEY_VITA_KEY in the environment.",
    )
    vita_served: str = Field("", description="The model there; empty takes the only one.")
    vita15_precision: Literal["full", "int8", "int4"] = Field(
        "full",
        description="Weights of VITA-1.5's language model: full is bfloat16; int8 and int4 take "
        "torchao.",
    )
    vita15_window: int = Field(
        6200,
        ge=512,
        le=32_768,
        description="Tokens that VITA-1.5 keeps of a conversation with its reply, at most those "
        "it was made for. A picture takes 256 to 3328 of them.",
    )
    vita15_tiles: int = Field(
        12,
        ge=1,
        le=12,
        description="How closely VITA-1.5 looks at images: into how many tiles one is cut at "
        "most. Each takes 256 tokens and time. Frames of videos are never cut.",
    )
    vita15_users: int = Field(4, ge=1, description="Replies that VITA-1.5 makes at once.")
    vita15_url: str = Field(
        "",
        description="Address of a vLLM server that runs VITA-1.5's language model "
        "(http://host:8000/v1), several with commas; empty: it runs here. Its key is "
        "PARLEY_VITA15_KEY in the environment.",
    )
    vita15_served: str = Field("", description="The model there; empty takes the only one.")
    opens2s_window: int = Field(
        0,
        ge=0,
        le=40_960,
        description="Tokens that OpenS2S keeps of a dialogue with its answer; 0: as its preset for "
        "the card says. Its memory grows with that.",
    )
    opens2s_users: int = Field(
        0, ge=0, description="Answers that OpenS2S makes at once; 0: as its preset says."
    )
    warm: bool = Field(True, description="Fetch and load the models in the background at start.")
    temperature: float = Field(
        0.7, ge=0, le=2, description="How freely the chat model chooses words, unless asked."
    )
    max_upload: int = Field(
        200 * MEGABYTE, gt=0, description="Largest file that is accepted, bytes."
    )
    max_audio: float = Field(3600.0, gt=0, description="Longest clip that is accepted, seconds.")
    max_text: int = Field(
        100_000, gt=0, description="Longest text that is spoken or answered, characters."
    )
    max_queue: int = Field(20, ge=1, description="Requests that may wait; more are refused.")
    max_active: int = Field(2, ge=1, description="Requests that are worked on at once.")
    max_sessions: int = Field(
        200, ge=1, description="Browser sessions, and dialogues of the API, that are kept."
    )
    max_live: int = Field(8, ge=1, description="Live conversations at once.")
    live_speculation: bool = Field(
        True,
        description="Get ready to answer while somebody speaks, and begin before the end is sure.",
    )
    max_live_waiting: int = Field(
        16, ge=0, description="Callers that may wait for a live conversation; more are refused."
    )
    live_resume: float = Field(
        30.0,
        ge=0,
        description="Seconds for which a live conversation whose line dropped can be taken up "
        "again; 0: not at all.",
    )
    live_idle: float = Field(
        600.0,
        ge=0,
        description="Seconds after which a live conversation in which nobody speaks is ended; "
        "0: never.",
    )
    live_open: bool = Field(
        False, description="Let programs elsewhere use the API under /v1 without a key."
    )
    api_key: str = Field(
        "", repr=False, description="Key for programs that use the API under /v1 from elsewhere."
    )
    voice_consent: bool = Field(
        True,
        description="Store the voice of a person only after they have read a sentence aloud to "
        "consent; off only for research on this machine.",
    )
    session_ttl: float = Field(
        14_400.0, gt=0, description="Seconds until a dialogue and its clips are forgotten."
    )

    @field_validator("auth")
    @classmethod
    def _check_auth(cls, value: str) -> str:
        for login in filter(None, value.split(",")):
            user, _, password = login.partition(":")
            if not (user and password):
                raise ValueError("a login is user:password, and logins are separated by commas")
        return value

    @field_validator("vita_url", "vita15_url")
    @classmethod
    def _check_urls(cls, value: str) -> str:
        urls = [url.strip().rstrip("/") for url in value.split(",")]
        if any(url and not url.startswith(("http://", "https://")) for url in urls):
            raise ValueError("an address begins with http:// or https://")
        return ",".join(urls)

    @field_validator("data")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def agreed(self) -> frozenset[str]:
        """Engines whose terms were agreed to at start."""
        return frozenset(filter(None, (name.strip() for name in self.agree.split(","))))

    @property
    def logins(self) -> list[tuple[str, str]]:
        """Who may log in: users and passwords."""
        pairs = (login.partition(":") for login in self.auth.split(",") if login)
        return [(user, password) for user, _, password in pairs]

    @property
    def model_threads(self) -> int:
        """CPU threads each model gets."""
        if self.threads:
            return self.threads
        import psutil  # noqa: PLC0415  (only needed when nothing was set)

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
