"""Shotgun sequencing in small: cuts a genome into overlapping reads and puts them together again."""

import random

READ = 500
STEP = 200
OVERLAP = 60


def reads_of(bases: str, *, seed: int = 1) -> list[str]:
    """Overlapping reads of READ bases in random order, error-free, that cover all of `bases`."""
    last = max(len(bases) - READ, 0)
    starts = [*range(0, last, STEP), last]
    reads = [bases[start : start + READ] for start in starts]
    random.Random(seed).shuffle(reads)  # noqa: S311 - the same reads at each run
    return reads


def assemble(reads: list[str]) -> list[str]:
    """Joins reads where the end of one is found in exactly one other; gives contigs, longest first.

    An end of OVERLAP bases that occurs in several reads that disagree on what follows stops a contig
    there, as repeats do for real assemblers.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for number, read in enumerate(reads):
        for at in range(len(read) - OVERLAP + 1):
            places.setdefault(read[at : at + OVERLAP], []).append((number, at))
    follower = {number: _next(reads, number, places) for number in range(len(reads))}
    followed = {found[0] for found in follower.values() if found}
    contigs = []
    for number, read in enumerate(reads):
        if number in followed:
            continue
        contig, seen, found = read, {number}, follower[number]
        while found and found[0] not in seen:
            other, at = found
            contig += reads[other][at + OVERLAP :]
            seen.add(other)
            found = follower[other]
        contigs.append(contig)
    return sorted(contigs, key=len, reverse=True)


def _next(
    reads: list[str], number: int, places: dict[str, list[tuple[int, int]]]
) -> tuple[int, int] | None:
    """The read that goes on where this one ends, and where in it that end is: the one with the
    longest overlap."""
    end = reads[number][-OVERLAP:]
    others = [
        (other, at)
        for other, at in places[end]
        if other != number and at + OVERLAP < len(reads[other])
    ]
    # What follows must agree: else the end is a repeat.
    rest = sorted({reads[other][at + OVERLAP :] for other, at in others}, key=len)
    if not rest or any(not rest[-1].startswith(text) for text in rest):
        return None
    return max(others, key=lambda place: place[1])
