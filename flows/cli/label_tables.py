"""Tables of `python -m flows labels` for a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from flows.cli.console import render_table
from vitau.schema import AUS, RegionLabels

if TYPE_CHECKING:  # numpy and SQLAlchemy, which `--help` need not load
    from flows.annotation.consensus import LabelReport, MergeSummary
    from flows.measuring.grades import GradeReport
    from flows.studies.active_learning import Replayed
    from labeling.consensus.agreement import Agreement
    from labeling.consensus.kappa import PairKappa
    from labeling.consensus.reader_checks import ReaderChecks
    from labeling.consensus.reader_statistics import Estimate, ReaderReport


def merge_notices(summary: "MergeSummary") -> Iterator[str]:
    """Yield what remains to be done after a merge."""
    if summary.new:
        yield "The labels follow with the next `annotate`."
    for trained in summary.trained_on:
        yield (
            f"{trained.model} version {trained.version} has this person in {trained.split}, but the person is in "
            f"{summary.split} now: freeze and retrain."
        )
    for digest in summary.damaged:
        yield (
            f"Snapshot {digest[:12]} cannot be read, and whether its models used this person in another split is unknown: "
            "restore its manifest from a backup."
        )


def label_table(labels: Iterable[RegionLabels]) -> str:
    """Return a table with one row of labels per person and visit."""
    marks = {True: "1", False: "0", None: "-"}
    rows = ([answer.case, answer.side or "", *(marks[answer.affected.get(au)] for au in AUS)] for answer in labels)
    return render_table(["subject", "side", *AUS], rows)


def render_label_report(report: "LabelReport") -> str:
    """Return the report on agreement and readers as tables."""
    from labeling.consensus.agreement import WITH_MEASURES

    agreement = report.agreement
    counts = (
        f"Ledger offset {report.ledger_offset}, rule {report.rule}: {report.labeled} people labeled, "
        f"{report.adjudicated} of them adjudicated, {report.waiting} waiting, {report.disputed} disputed."
    )
    parts = [
        counts,
        agreements(
            "Agreement", {"all regions": agreement.overall} | {au.value: by_au for au, by_au in agreement.by_au.items()}
        ),
        agreements("Readers", agreement.by_pair),
        kappas(report.kappas),
        *(kappas(pairs, f"Weighted kappa of {name}") for name, pairs in report.severity_kappas.items()),
        agreements("Week", agreement.by_week),
        agreements("Suggestions", agreement.by_suggestion if any(reader.anchoring for reader in report.readers) else {}),
        agreements("Measures", agreement.by_measures if agreement.by_measures[WITH_MEASURES].num_pairs else {}),
        render_table(
            ["Reader", "people", "median s", "p90 s", "cannot tell", "agrees with labels", "second half less first"],
            map(reader_cells, report.readers),
        ),
        render_table(
            ["Bias", *AUS],
            ([reader.reader, *(estimated(reader.bias[au], sign="+") for au in AUS)] for reader in report.readers),
        ),
        render_table(
            ["Anchoring", "with the suggestion", "without it", "difference"],
            (
                [
                    reader.reader,
                    estimated(reader.anchoring.shown),
                    estimated(reader.anchoring.blind),
                    estimated(reader.anchoring.difference, sign="+"),
                ]
                for reader in report.readers
                if reader.anchoring
            ),
        ),
        checks(report.checks),
        grades(report.grades),
    ]
    return "\n\n".join(part for part in parts if part)


def checks(readers: "Iterable[ReaderChecks]") -> str:
    """Return what the checks show about each reader as a table; nothing if nobody was checked."""
    from vitau.evaluation.bootstrap import format_estimate

    rows = (
        [
            reader.reader,
            f"{reader.false_alarms} of {reader.num_controls}",
            format_estimate(reader.rate, reader.rate_interval),
            str(reader.num_repeats),
            format_estimate(reader.retest.kappa, reader.retest.interval) if reader.retest else "-",
        ]
        for reader in readers
    )
    return render_table(["Checks", "false alarms", "share", "read again", "test-retest kappa"], rows)


def grades(report: "GradeReport") -> str:
    """Return the grades against measures as a table, with the people who are left out; nothing if nobody is graded."""
    from vitau.evaluation.bootstrap import format_estimate

    if not report.num_graded:
        return ""
    counts = (
        f"House–Brackmann grades against measures: {report.num_compared} people. Left out: {report.num_ungraded} without a "
        f"grade, {report.num_unblind} graded only with measures on the page, {report.num_unmeasured} without measures."
    )
    rows = (
        [found.measure, str(found.num_people), format_estimate(found.rho, found.interval, digits=2, sign="+")]
        for found in report.correlations
    )
    lines = [counts, *([report.note] if report.note else []), render_table(["Grade against", "people", "Spearman's rho"], rows)]
    return "\n".join(line for line in lines if line)


def render_simulation(simulation: "Replayed") -> str:
    """Return the labels that each order needs as a table."""
    from vitau.evaluation.bootstrap import format_estimate

    about = (
        f"{simulation.populations} populations of {simulation.people} drawn patients, seed {simulation.seed}, measured on "
        f"{simulation.held_out} more of each; with all labels the AUROC is {simulation.auroc_of_all:.3f}."
    )
    lines = render_table(
        ["AUROC", "order", "labels needed", "fewer than at random", "not reached in"],
        (
            [
                f"{saving.target:.2f}",
                saving.order,
                format_estimate(saving.needed, saving.needed_interval, digits=1),
                format_estimate(saving.saved, saving.saved_interval, digits=1, sign="+"),
                str(saving.num_missed),
            ]
            for saving in simulation.savings
        ),
    )
    return f"{about}\n\n{lines}"


def agreements(title: str, by_name: "Mapping[str, Agreement]") -> str:
    """Return a table with one row per agreement."""
    from vitau.evaluation.bootstrap import format_estimate

    return render_table(
        [title, "people", "pairs", "raw", "alpha"],
        (
            [
                name,
                str(agreement.num_subjects),
                str(agreement.num_pairs),
                format_estimate(agreement.raw, agreement.raw_interval),
                format_estimate(agreement.alpha, agreement.alpha_interval),
            ]
            for name, agreement in by_name.items()
        ),
    )


def kappas(pairs: "Iterable[PairKappa]", title: str = "Cohen's kappa") -> str:
    """Return a table with κ of each two readers."""
    from vitau.evaluation.bootstrap import format_estimate

    rows = (
        [f"{pair.one} / {pair.other}", str(pair.num_subjects), str(pair.num_cells), format_estimate(pair.kappa, pair.interval)]
        for pair in pairs
    )
    return render_table([title, "people", "answers", "kappa"], rows)


def reader_cells(reader: "ReaderReport") -> list[str]:
    """Return the numbers of a reader as the cells of a row."""
    speed = reader.speed
    return [
        reader.reader,
        str(reader.num_subjects),
        f"{speed.median_s:.0f}" if speed else "-",
        f"{speed.p90_s:.0f}" if speed else "-",
        "-" if reader.cannot_tell is None else f"{reader.cannot_tell:.1%}",
        estimated(reader.agreement),
        estimated(reader.drift.difference, sign="+"),
    ]


def estimated(estimate: "Estimate", *, sign: str = "") -> str:
    """Return an estimate with its interval in words."""
    from vitau.evaluation.bootstrap import format_estimate

    return format_estimate(estimate.value, estimate.interval, sign=sign)
