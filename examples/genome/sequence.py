"""Reads a FASTA file and counts what a sequence is made of. Positions count from 1, as biologists do."""

from dataclasses import dataclass
from pathlib import Path

BASES = "ACGT"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One record of a FASTA file: `bases` in capitals, `name` the first word of its header."""

    name: str
    description: str
    bases: str


def read_fasta(path: Path) -> list[Sequence]:
    """Every record of a file. Raises ValueError, with the line, where it isn't FASTA of plain DNA."""
    found: list[Sequence] = []
    header = ""
    lines: list[str] = []

    def close() -> None:
        if not header:
            return
        if not lines:
            raise ValueError(f"{path.name}: {header.split()[0]} has no sequence.")
        name, _, description = header.partition(" ")
        found.append(Sequence(name=name, description=description.strip(), bases="".join(lines)))

    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        text = line.strip().upper() if not line.startswith(">") else line[1:].strip()
        if line.startswith(">"):
            close()
            header, lines = text, []
            if not header:
                raise ValueError(f"{path.name}, line {number}: the header names no sequence.")
        elif text and not header:
            raise ValueError(f"{path.name}, line {number}: a FASTA file begins with a > line.")
        elif wrong := set(text) - set(BASES):
            raise ValueError(
                f"{path.name}, line {number}: {', '.join(sorted(wrong))} is no base; "
                "only A, C, G and T are taken."
            )
        elif text:
            lines.append(text)
    close()
    if not found:
        raise ValueError(f"{path.name} holds no sequence.")
    return found


def write_fasta(path: Path, sequences: list[Sequence], width: int = 70) -> None:
    """Writes records in lines of `width` bases."""
    with path.open("w", encoding="ascii") as file:
        for sequence in sequences:
            file.write(f">{sequence.name} {sequence.description}".rstrip() + "\n")
            for at in range(0, len(sequence.bases), width):
                file.write(sequence.bases[at : at + width] + "\n")


def reverse_complement(bases: str) -> str:
    """The other strand, read in its own direction."""
    return bases.translate(_COMPLEMENT)[::-1]


def composition(bases: str) -> dict[str, int]:
    """Base -> how often it occurs."""
    return {base: bases.count(base) for base in BASES}


def gc_percent(bases: str) -> float:
    """The share of G and C in percent, 0 to 100."""
    return 100 * (bases.count("G") + bases.count("C")) / len(bases)


def gc_skew(bases: str) -> float:
    """(G - C) / (G + C), from -1 to 1: its sign tends to differ between the two replication arms."""
    g, c = bases.count("G"), bases.count("C")
    return (g - c) / (g + c) if g + c else 0.0


def windows(length: int, size: int) -> list[dict[str, int]]:
    """Cuts 1..length into pieces of `size`; the last one may be shorter."""
    return [
        {"start": start, "end": min(start + size - 1, length)}
        for start in range(1, length + 1, size)
    ]
