"""The functions that the example workflows call (WORKFLOWHUB_HANDLER_MODULES lists this module).

What a step prints is its log; what it returns, as JSON, is its result. Steps hand on figures, not the
genome: each reads the file anew, which takes a millisecond.
"""

from collections import Counter
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from engines.base import external_id
from engines.dag.callables import Permanent, handler
from engines.dag.context import StepContext
from examples.genome import assembly, genes, sites
from examples.genome.sequence import (
    Sequence,
    composition,
    gc_percent,
    gc_skew,
    read_fasta,
    windows,
    write_fasta,
)

GENOMES = Path(__file__).resolve().parent / "genome"
PHAGE = "lambda_phage.fa"
SHORTEST_GENE = 100  # codons


def read_genome(name: str) -> Sequence:
    """The one sequence of a FASTA file of this example. Permanent where there is no such file."""
    path = GENOMES / name
    if path.parent != GENOMES or path.suffix != ".fa" or not path.is_file():
        known = ", ".join(sorted(found.name for found in GENOMES.glob("*.fa")))
        raise Permanent(f"There is no genome {name!r} in this example: choose from {known}.")
    try:
        [sequence] = read_fasta(path)
    except ValueError as error:
        raise Permanent(f"One sequence is needed: {error}") from None
    return sequence


# The workflow phage-genome-report, in the order of its steps.


@handler("genome_read")
def read(genome: str, window: int) -> dict[str, Any]:
    sequence = read_genome(genome)
    length = len(sequence.bases)
    pieces = windows(length, window)
    print(f"{sequence.name} {sequence.description}: {length:,} bp, {len(pieces)} windows")
    return {
        "name": sequence.name,
        "description": sequence.description,
        "length": length,
        "windows": pieces,
    }


@handler("genome_composition")
def count_bases(genome: str) -> dict[str, Any]:
    bases = read_genome(genome).bases
    counts = composition(bases)
    print(", ".join(f"{base} {count:,}" for base, count in counts.items()))
    return {"counts": counts, "gc_percent": round(gc_percent(bases), 2)}


@handler("genome_skew")
def skew(genome: str, start: int, end: int) -> dict[str, Any]:
    piece = read_genome(genome).bases[start - 1 : end]
    print(f"{start:,} to {end:,}: GC {gc_percent(piece):.2f} %, skew {gc_skew(piece):+.4f}")
    return {
        "start": start,
        "end": end,
        "gc_percent": round(gc_percent(piece), 2),
        "skew": round(gc_skew(piece), 4),
    }


@handler("genome_turning_point")
def turning_point(windows: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the running sum of the skew, less its mean, is highest: what lies before is richer in G
    on this strand than what follows."""
    skews = [window["skew"] for window in windows]
    mean = sum(skews) / len(skews)
    sums = [round(value, 4) for value in accumulate(skew - mean for skew in skews)]
    at = max(range(len(sums)), key=sums.__getitem__)
    print(f"The skew turns at {windows[at]['end']:,}; its mean is {mean:+.4f}")
    return {
        "position": windows[at]["end"],
        "mean_skew": round(mean, 4),
        "cumulative_skew": sums,
    }


@handler("genome_orfs")
def reading_frames(genome: str, frame: int, shortest: int) -> dict[str, Any]:
    found = genes.open_reading_frames(read_genome(genome).bases, frame, shortest)
    print(f"Frame {frame:+d}: {len(found)} open reading frames of {shortest} codons or more")
    return {"frame": frame, "orfs": found}


@handler("genome_chance")
def chance(genome: str, seed: int, shuffles: int, context: StepContext) -> dict[str, Any]:
    """The longest open reading frame of each of `shuffles` genomes that differ in nothing but the
    order of their bases."""
    bases = read_genome(genome).bases
    longest = []
    for number in range(shuffles):
        longest.append(genes.longest_by_chance(bases, seed * 1_000_000 + number))
        context.progress((number + 1) / shuffles, f"{number + 1} of {shuffles} genomes shuffled")
    print(f"Longest by chance, in codons: {longest}")
    return {"longest": longest}


@handler("genome_genes")
def likely_genes(frames: list[dict[str, Any]], chance: list[dict[str, Any]]) -> dict[str, Any]:
    """The open reading frames that are longer than any that chance gave."""
    every = [orf for frame in frames for orf in frame["orfs"]]
    by_chance = [length for part in chance for length in part["longest"]]
    threshold = max(by_chance)
    likely = sorted(
        (orf for orf in every if orf["codons"] > threshold), key=lambda orf: -orf["codons"]
    )
    print(f"{len(likely)} of {len(every)} frames are longer than chance's longest, {threshold}")
    for orf in likely:
        print(f"{orf['start']:>7} {orf['end']:>7}  {orf['frame']:+d}  {orf['codons']:>5} codons")
    return {
        "orfs": len(every),
        "shuffled_genomes": len(by_chance),
        "longest_by_chance": threshold,
        "genes": likely,
    }


@handler("genome_codons")
def codons(genome: str, genes: list[dict[str, Any]]) -> dict[str, Any]:
    return _codon_table(read_genome(genome).bases, genes)


@handler("genome_sites")
def restriction_sites(genome: str, enzyme: str) -> dict[str, Any]:
    bases = read_genome(genome).bases
    try:
        positions = sites.cuts(bases, enzyme)
    except ValueError as error:
        raise Permanent(str(error)) from None
    print(f"{enzyme} ({sites.RECOGNITION[enzyme]}) cuts {len(positions)} times: {positions}")
    return {
        "enzyme": enzyme,
        "site": sites.RECOGNITION[enzyme],
        "cuts": positions,
        "fragments": sites.fragments(len(bases), positions),
    }


@handler("genome_report")
def report(
    sequence: dict[str, Any],
    composition: dict[str, Any],
    turning_point: dict[str, Any],
    genes: dict[str, Any],
    codons: dict[str, Any],
    sites: list[dict[str, Any]],
    context: StepContext,
) -> dict[str, Any]:
    """Everything in one object, and in a text that people read: report.txt in the step's folder."""
    longest = genes["genes"][0] if genes["genes"] else None
    lines = [
        f"{sequence['name']} {sequence['description']}",
        f"length              {sequence['length']:,} bp",
        f"GC content          {composition['gc_percent']:.2f} %",
        f"skew turns at       {turning_point['position']:,}",
        f"reading frames      {genes['orfs']}, of which {len(genes['genes'])} longer than the "
        f"{genes['longest_by_chance']} codons that chance gives",
        f"longest             {longest['start']:,} to {longest['end']:,}, {longest['codons']} codons"
        if longest
        else "longest             none is longer than chance gives",
        f"most used codon     {codons['most_used'] or 'none'}",
        *(f"{site['enzyme']:<20}{len(site['cuts'])} cuts" for site in sites),
    ]
    text = "\n".join(lines)
    print(text)
    (context.output_dir / "report.txt").write_text(text + "\n", encoding="utf-8")
    return {
        "length": sequence["length"],
        "gc_percent": composition["gc_percent"],
        "orfs": genes["orfs"],
        "likely_genes": len(genes["genes"]),
        "longest_gene": longest,
        "most_used_codon": codons["most_used"],
        "cuts": {site["enzyme"]: len(site["cuts"]) for site in sites},
        "text": text,
    }


# The two apps of the workflow my-pipeline, small but real: shotgun reads of the phage are put
# together again, and the contigs annotated. The document's paths are those of a workspace that isn't
# here, so each lies beneath the folder of the step that writes it.


@handler("GenomeAssembly2")
def assemble(params: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Writes contigs.fa where the document says, beneath the step's own folder."""
    reads = assembly.reads_of(read_genome(PHAGE).bases)
    print(f"{len(reads)} reads of {assembly.READ} bases")
    context.progress(0.3, f"{len(reads)} reads")
    contigs = [
        Sequence(name=f"contig_{number}", description=f"length={len(bases)}", bases=bases)
        for number, bases in enumerate(assembly.assemble(reads), start=1)
    ]
    name = params.get("output_file", "assembly")
    path = f"{params.get('output_path', '')}/.{name}/contigs.fa"
    target = context.output_dir / _beneath(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_fasta(target, contigs)
    print(
        f"{len(contigs)} contigs, the longest of {len(contigs[0].bases):,} bases, in {target.name}"
    )
    return {
        "reads": len(reads),
        "contig_count": len(contigs),
        "longest_contig": len(contigs[0].bases),
        "file": str(target.relative_to(context.output_dir)),
    }


@handler("GenomeAnnotation")
def annotate(params: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Writes the open reading frames of the contigs to genes.gff and gives the genome that they make
    up as the output `genome`."""
    contigs = read_fasta(_made_before(str(params.get("contigs", "")), context))
    lines = ["##gff-version 3"]
    for at, contig in enumerate(contigs, start=1):
        for frame in genes.FRAMES:
            for orf in genes.open_reading_frames(contig.bases, frame, SHORTEST_GENE):
                strand = "+" if frame > 0 else "-"
                place = f"{orf['start']}\t{orf['end']}\t.\t{strand}\t0"
                lines.append(f"{contig.name}\texample\tCDS\t{place}\tID=gene_{len(lines)}")
        context.progress(at / len(contigs), f"{contig.name} done")
    target = context.output_dir / _beneath(f"{params.get('output_path', '')}/genes.gff")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="ascii")
    bases = "".join(contig.bases for contig in contigs)
    print(
        f"{len(lines) - 1} open reading frames of {SHORTEST_GENE} codons or more, in {target.name}"
    )
    return {
        "genome": {
            "contigs": len(contigs),
            "length": len(bases),
            "gc_percent": round(gc_percent(bases), 2),
            "genes": len(lines) - 1,
        },
        "file": str(target.relative_to(context.output_dir)),
    }


# The workflow hub-health: a handler that is none of the engine's own is a function like these.


@handler("health_report")
def say_health(url: str, status: int, word: str) -> dict[str, str]:
    text = f"{url} answered {status}: it is {word}."
    print(text)
    return {"text": text}


def _beneath(path: str) -> PurePosixPath:
    """An absolute path of a document as one that can only lead downwards."""
    parts = [part for part in PurePosixPath(path).parts if part != "/"]
    if not parts or ".." in parts or "\x00" in path:
        raise Permanent(f"{path!r} is no path that files can be kept under.")
    return PurePosixPath(*parts)


def _made_before(path: str, context: StepContext) -> Path:
    """The file that a step of this run keeps under a path of the document. A retry runs only some of
    the steps again: what the others made lies with the attempt that made it."""
    inner = _beneath(path)
    work = context.output_dir.parent.parent
    for attempt in range(context.run.attempt, 0, -1):
        for folder in sorted((work / external_id(context.run.uuid, attempt)).glob("*")):
            if (folder / inner).is_file():
                return folder / inner
    raise Permanent(f"No step of this run has made {path}.")


def _codon_table(bases: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    codings = [genes.coding_sequence(bases, orf) for orf in found]
    usage = genes.codon_usage(codings)
    starts = Counter(coding[:3] for coding in codings)
    most = max(usage, key=lambda codon: usage[codon], default=None)
    print(f"{sum(usage.values()):,} codons in {len(codings)} genes; most used: {most}")
    return {"usage": usage, "most_used": most, "starts": dict(sorted(starts.items()))}
