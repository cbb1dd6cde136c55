"""The records of the readers' answers: rows of the label ledger, and what is known of the annotations in Label Studio."""

from dataclasses import dataclass, field

from vitau.schema.domain import AU, CheckKind, Side, Stage, case_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A box that a reader drew on a frame: left, top, width and height as fractions of the picture, 0 to 1."""

    frame: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """An answer of one reader about one region of one person at one visit: a row of the append-only ledger.

    ``affected`` is ``None`` for "cannot tell". ``annotation`` and ``version`` identify the annotation in Label Studio and make
    appending idempotent. A ``retracted`` row cancels the reader's answer, because its annotation was deleted: the region is
    unanswered again. ``suggestion`` is the score that the reader saw, ``suggested_by`` the model's name and version; both are
    ``None`` for a blind answer. ``grade`` is the House–Brackmann grade of the whole face, 1 (normal) to 6 (total).
    ``severity`` is that of an affected region, 0 (slight) to 2 (no movement), and ``synkinesis`` whether the region moves along
    with another one; both are ``None`` without an answer.
    ``lead_time_s`` is the time for which the task was open. ``measures_shown`` is the version of the measures on the page,
    ``None`` if the reader saw none. A row that was not ``asked`` is about a region that an adjudicator did not settle: it
    cancels an earlier ruling of the same annotation. ``check_kind`` marks an answer that checks its reader and makes no label.
    ``visit`` is ``None`` for the visit 1, as in all answers that are older than visits.
    """

    subject: str
    au: AU
    reader: str
    stage: Stage
    affected: bool | None
    side: Side | None
    annotation: str
    version: str
    answered_at: str
    frames_shown: tuple[str, ...] = field(default=())
    note: str | None = None
    retracted: bool = False
    suggestion: float | None = None
    suggested_by: str | None = None
    grade: int | None = None
    lead_time_s: float | None = None
    measures_shown: str | None = None
    asked: bool = True
    check_kind: CheckKind | None = None
    visit: str | None = None
    severity: int | None = None
    synkinesis: bool | None = None
    marks: tuple[Mark, ...] = field(default=())

    @property
    def case(self) -> str:
        """The name of the person at this visit."""
        return case_name(self.subject, self.visit)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenAnnotation:
    """The last known state of an annotation in Label Studio, by which the next pull detects changes.

    ``problem`` is the reason why it could not be read, ``None`` if it could. ``gone`` means that it no longer exists. ``held``
    means that its deletion may be an accident, such as a restored backup: the answer remains until the deletion is accepted.
    """

    annotation: str
    task: int
    subject: str
    version: str
    problem: str | None = None
    gone: bool = False
    held: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PullState:
    """The progress of pulling one project of Label Studio, which holds the answers of one reader at one stage.

    ``project`` is its number and creation time, which are unique together. ``seen_until`` is the time, by Label Studio's clock,
    up to which every change was read. ``whole_at`` is the time of the last complete read. Both are ISO 8601. ``number`` counts
    the pulls with changes. The project stores it too: a lower number there means that a backup was restored. ``num_skipped``
    counts the unanswered tasks that the reader skipped, or whose answer was given back.
    """

    project: str
    title: str
    reader: str
    stage: Stage
    seen_until: str
    whole_at: str
    number: int
    num_skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """An annotation that the ledger holds under a version, as an answer or as a retraction."""

    annotation: str
    subject: str
    version: str
    retracted: bool = False
    check_kind: CheckKind | None = None
    visit: str | None = None

    @property
    def case(self) -> str:
        """The name of the person at this visit."""
        return case_name(self.subject, self.visit)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckQuestion:
    """A question that checks a reader: about a person, with this material, after so many answers of the reader about them."""

    reader: str
    subject: str
    material: str
    after: int
    kind: CheckKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference between a person's key frames now and the frames that a reader was shown.

    ``material`` is a digest of the person's present clips, ``shown`` a digest of the shown frames;
    ``labeling.sampling.staleness`` computes both. ``frames`` are the present key frames. ``difference`` is the largest
    distance from one of these to its nearest shown frame; ``None`` if no shown frame can be read any more.
    """

    subject: str
    material: str
    shown: str
    frames: tuple[str, ...]
    difference: float | None
