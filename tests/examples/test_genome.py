"""What the genome example computes, held to what is published of phage lambda (SOURCE.md)."""

import hashlib
import random
from pathlib import Path

import pytest

from examples.genome import genes, sites
from examples.genome.assembly import OVERLAP, READ, assemble, reads_of
from examples.genome.sequence import (
    Sequence,
    composition,
    gc_percent,
    gc_skew,
    read_fasta,
    reverse_complement,
    windows,
    write_fasta,
)
from examples.handlers import GENOMES, PHAGE

[LAMBDA] = read_fasta(GENOMES / PHAGE)
REPRESSOR = (
    "MSTKKKPLTQEQLEDARRLKAIYEKKKNELGLSQESVADKMGMGQSGVGALFNGINALNAYNAALLAKILKVSVEEFSPSIAREIYEMYEAVSMQPS"
    "LRSEYEYPVFSHVQAGMFSPELRTFTKGDAERWVSTTKKASDSAFWLEVEGNSMTAPTGSKPSFPDGMLILVDPEQAVEPGDFCIARLGGDEFTFKKL"
    "IRDSGQVFLQPLNPQYPMIPCNESCSVVGKVIASQWPEETFG"
)


def test_the_file_is_the_one_that_its_source_note_describes():
    digest = hashlib.sha256((GENOMES / PHAGE).read_bytes()).hexdigest()
    assert digest in (GENOMES / "SOURCE.md").read_text()
    assert "NC_001416" in LAMBDA.name
    assert (GENOMES / PHAGE).stat().st_size <= 200_000


def test_length_and_gc_content_are_the_published_ones():
    assert len(LAMBDA.bases) == 48_502
    assert composition(LAMBDA.bases) == {"A": 12_334, "C": 11_362, "G": 12_820, "T": 11_986}
    assert round(gc_percent(LAMBDA.bases), 2) == 49.86


@pytest.mark.parametrize(
    ("enzyme", "positions"),
    [
        ("EcoRI", [21226, 26104, 31747, 39168, 44972]),
        ("HindIII", [23130, 25157, 27479, 36895, 37459, 44141]),
        ("BamHI", [5505, 22346, 27972, 34499, 41732]),
        ("XhoI", [33498]),
        ("SalI", [32745, 33244]),
        ("NotI", []),
    ],
)
def test_enzymes_cut_where_the_published_maps_say(enzyme, positions):
    assert sites.cuts(LAMBDA.bases, enzyme) == positions


@pytest.mark.parametrize(("enzyme", "number"), [("PstI", 28), ("EcoRV", 21), ("NdeI", 7)])
def test_frequent_cutters_cut_as_often_as_published(enzyme, number):
    assert len(sites.cuts(LAMBDA.bases, enzyme)) == number


def test_fragments_are_those_of_the_size_marker():
    cuts = sites.cuts(LAMBDA.bases, "EcoRI")
    assert sites.fragments(48_502, cuts) == [21226, 7421, 5804, 5643, 4878, 3530]


def test_the_seventh_hindiii_site_of_the_sold_strain_is_not_in_the_wild_type():
    assert 6682 in sites.fragments(48_502, sites.cuts(LAMBDA.bases, "HindIII"))


def test_every_enzyme_has_a_palindrome_and_a_cut_inside_it():
    assert sites.CUTS_AFTER.keys() == sites.RECOGNITION.keys()
    for enzyme, site in sites.RECOGNITION.items():
        assert reverse_complement(site) == site, enzyme
        assert 0 < sites.CUTS_AFTER[enzyme] < len(site)


def test_an_unknown_enzyme_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"Eco42 is not known here: choose from ApaI, BamHI"):
        sites.cuts("GAATTC", "Eco42")


@pytest.mark.parametrize(
    ("frame", "start", "end", "codons"),
    [(1, 15505, 18903, 1132), (-3, 37227, 37940, 237), (1, 38041, 38241, 66)],
    ids=["J", "cI", "cro"],
)
def test_known_genes_are_found_with_their_published_ends(frame, start, end, codons):
    found = genes.open_reading_frames(LAMBDA.bases, frame, 60)
    assert {"frame": frame, "start": start, "end": end, "codons": codons} in found


def test_the_longest_gene_is_j():
    found = [o for f in genes.FRAMES for o in genes.open_reading_frames(LAMBDA.bases, f, 60)]
    assert max(found, key=lambda orf: orf["codons"])["start"] == 15505


def test_the_repressor_is_translated_to_its_known_protein():
    orf = {"frame": -3, "start": 37227, "end": 37940, "codons": 237}
    assert genes.translate(genes.coding_sequence(LAMBDA.bases, orf)) == REPRESSOR


def test_a_frame_without_a_stop_is_no_open_reading_frame():
    assert genes.open_reading_frames("ATGAAAAAA", 1, 1) == []
    assert genes.open_reading_frames("ATGAAATAA", 1, 2) == [
        {"frame": 1, "start": 1, "end": 9, "codons": 2}
    ]


def test_the_other_strand_has_positions_of_the_forward_strand():
    bases = "CC" + reverse_complement("ATGAAATAA") + "G"
    assert genes.open_reading_frames(bases, -2, 2) == [
        {"frame": -2, "start": 3, "end": 11, "codons": 2}
    ]


def test_there_is_no_seventh_frame():
    with pytest.raises(ValueError, match="no reading frame 4"):
        genes.open_reading_frames("ATG", 4, 1)


def test_the_same_seed_shuffles_the_same_genome():
    first = genes.longest_by_chance(LAMBDA.bases, 7)
    assert first == genes.longest_by_chance(LAMBDA.bases, 7)
    assert 60 < first < 400


def test_codons_are_counted_over_all_genes():
    assert genes.codon_usage(["ATGAAA", "ATGCCC"]) == {"AAA": 1, "ATG": 2, "CCC": 1}


def test_windows_cover_everything_once():
    found = windows(12, 5)
    assert found == [{"start": 1, "end": 5}, {"start": 6, "end": 10}, {"start": 11, "end": 12}]


def test_the_skew_is_signed():
    assert gc_skew("GGGC") == 0.5
    assert gc_skew("CCCG") == -0.5
    assert gc_skew("ATAT") == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ACGT\n", "line 1: a FASTA file begins with a > line"),
        (">a\nACGN\n", "line 2: N is no base"),
        (">a\n>b\nA\n", "a has no sequence"),
        (">\nA\n", "line 1: the header names no sequence"),
        ("", "holds no sequence"),
    ],
)
def test_what_is_not_fasta_is_refused_with_the_place(tmp_path: Path, text, wrong):
    path = tmp_path / "x.fa"
    path.write_text(text)
    with pytest.raises(ValueError, match=wrong):
        read_fasta(path)


def test_what_is_written_is_read_again(tmp_path: Path):
    given = [Sequence(name="a", description="one", bases="ACGT" * 50)]
    write_fasta(tmp_path / "x.fa", given)
    assert read_fasta(tmp_path / "x.fa") == given


def test_the_reads_are_put_together_to_the_genome_that_they_came_from():
    assert assemble(reads_of(LAMBDA.bases)) == [LAMBDA.bases]


def test_a_repeat_stops_the_assembly_and_never_joins_wrongly():
    dice = random.Random(3)
    parts = ["".join(dice.choices("ACGT", k=1500)) for _ in range(3)]
    repeat = "".join(dice.choices("ACGT", k=2 * READ))
    genome = parts[0] + repeat + parts[1] + repeat + parts[2]
    contigs = assemble(reads_of(genome))
    assert len(contigs) > 1
    assert all(contig in genome for contig in contigs)
    assert all(len(contig) > OVERLAP for contig in contigs)
