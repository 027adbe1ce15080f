"""Looks for genes the simple way: long stretches between a start and a stop codon, in six frames."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from examples.genome.sequence import reverse_complement

FRAMES = (1, 2, 3, -1, -2, -3)
STARTS = frozenset({"ATG", "GTG", "TTG"})  # the common ones of bacteria and their phages
STOPS = frozenset({"TAA", "TAG", "TGA"})
_BASES = "TCAG"
_AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
AMINO_ACID = {
    first + second + third: _AMINO_ACIDS[16 * i + 4 * j + k]
    for i, first in enumerate(_BASES)
    for j, second in enumerate(_BASES)
    for k, third in enumerate(_BASES)
}


def open_reading_frames(bases: str, frame: int, shortest: int) -> list[dict[str, Any]]:
    """The open reading frames of one frame (1, 2, 3, or -1, -2, -3 on the other strand).

    Each goes from the first start codon after a stop to the next stop. `start` and `end` are
    positions on the forward strand, stop codon included; `codons` counts without it, and is at
    least `shortest`. ValueError for another frame.
    """
    if frame not in FRAMES:
        raise ValueError(f"There is no reading frame {frame}: choose from 1, 2, 3, -1, -2, -3.")
    strand = bases if frame > 0 else reverse_complement(bases)
    length = len(strand)
    found = []
    first: int | None = None
    for at in range(abs(frame) - 1, length - 2, 3):
        codon = strand[at : at + 3]
        if first is None:
            if codon in STARTS:
                first = at
        elif codon in STOPS:
            codons = (at - first) // 3
            if codons >= shortest:
                start, end = first + 1, at + 3
                if frame < 0:
                    start, end = length - end + 1, length - start + 1
                found.append({"frame": frame, "start": start, "end": end, "codons": codons})
            first = None
    return found


def coding_sequence(bases: str, orf: dict[str, Any]) -> str:
    """The codons of an open reading frame as they are read, without the stop."""
    piece = bases[orf["start"] - 1 : orf["end"]]
    return (piece if orf["frame"] > 0 else reverse_complement(piece))[:-3]


def translate(coding: str) -> str:
    """The protein that a coding sequence stands for; its first codon always gives M."""
    acids = [AMINO_ACID[coding[at : at + 3]] for at in range(0, len(coding) - 2, 3)]
    return "".join(["M", *acids[1:]]) if acids else ""


def codon_usage(codings: Iterable[str]) -> dict[str, int]:
    """Codon -> how often it occurs in all the coding sequences."""
    counts: Counter[str] = Counter()
    for coding in codings:
        counts.update(coding[at : at + 3] for at in range(0, len(coding) - 2, 3))
    return {codon: counts[codon] for codon in sorted(counts)}


def longest_by_chance(bases: str, seed: int) -> int:
    """Codons in the longest open reading frame after the bases were shuffled: what chance alone
    gives in a sequence of this length and composition. The same seed gives the same answer."""
    shuffled = list(bases)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a permutation test, no secret
    text = "".join(shuffled)
    return max(
        (orf["codons"] for frame in FRAMES for orf in open_reading_frames(text, frame, 1)),
        default=0,
    )
