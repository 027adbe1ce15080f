"""Where restriction enzymes cut. All of these sites are palindromes: one strand tells all."""

import re

RECOGNITION = {
    "ApaI": "GGGCCC",
    "BamHI": "GGATCC",
    "BglII": "AGATCT",
    "EcoRI": "GAATTC",
    "EcoRV": "GATATC",
    "HindIII": "AAGCTT",
    "KpnI": "GGTACC",
    "NdeI": "CATATG",
    "NotI": "GCGGCCGC",
    "PstI": "CTGCAG",
    "SalI": "GTCGAC",
    "SmaI": "CCCGGG",
    "XbaI": "TCTAGA",
    "XhoI": "CTCGAG",
}
# How many bases of the site lie before the cut on the forward strand.
CUTS_AFTER = {
    "ApaI": 5,
    "BamHI": 1,
    "BglII": 1,
    "EcoRI": 1,
    "EcoRV": 3,
    "HindIII": 1,
    "KpnI": 5,
    "NdeI": 2,
    "NotI": 2,
    "PstI": 5,
    "SalI": 1,
    "SmaI": 3,
    "XbaI": 1,
    "XhoI": 1,
}


def cuts(bases: str, enzyme: str) -> list[int]:
    """The positions of the last base before each cut. ValueError for an unknown enzyme."""
    if enzyme not in RECOGNITION:
        known = ", ".join(sorted(RECOGNITION))
        raise ValueError(f"The enzyme {enzyme} is not known here: choose from {known}.")
    # A look-ahead, since two sites may overlap.
    site = re.compile(f"(?={RECOGNITION[enzyme]})")
    return [match.start() + CUTS_AFTER[enzyme] for match in site.finditer(bases)]


def fragments(length: int, positions: list[int]) -> list[int]:
    """Lengths of the pieces of a linear molecule, longest first."""
    edges = [0, *positions, length]
    return sorted((b - a for a, b in zip(edges, edges[1:], strict=False)), reverse=True)
