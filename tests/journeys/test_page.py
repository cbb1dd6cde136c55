"""The labeling page in a real browser: two blind readers and an adjudicator, by keyboard alone."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from flows.measuring.page_block import measure_block
from flows.measuring.people import PersonMeasures, VisitMeasures
from labeling.consensus.consensus import consensus
from labeling.interface.answer import SEVERITIES, STATES, SYNKINESES, Answer, to_result
from labeling.interface.config import label_config
from labeling.interface.hotkeys import (
    FRAME_BACK_KEY,
    FRAME_KEYS,
    FRAME_ON_KEY,
    MARK_KEYS,
    PLAY_KEYS,
    SUBMIT_KEYS,
    UNAFFECTED_KEYS,
    UNCLEAR_KEYS,
)
from labeling.interface.measure_block import MeasureBlock
from labeling.label_studio.accounts import Account, ensure_account
from labeling.label_studio.annotations import ReaderProject, create_annotation
from labeling.label_studio.client import connect
from labeling.label_studio.give_back import give_back
from labeling.label_studio.pagination import open_tasks
from labeling.label_studio.pull import pull, write_pull_number
from labeling.label_studio.push import push
from labeling.sampling.key_frames import choose_key_frames
from labeling.sampling.tasks import (
    PAGE_DATA,
    build_adjudication_task,
    build_task,
    image_url,
    with_captions,
    with_measures,
    with_player,
)
from tests.labeling.interface.key_presses import key_presses
from vitau.catalog.catalog import open_catalog
from vitau.errors import LabelingError
from vitau.measures.analysis import analyze
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.measures.stored import BACKEND, measures_version
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Stage, Subject, Visit

pytestmark = [pytest.mark.journey, pytest.mark.slow]

SUBJECTS = ("9f3c51d27ab04e68", "c04e7d1b6a2f9835")
EARLIER_PAGE = Path(__file__).parents[1] / "labeling" / "interface" / "earlier_page.xml"
PASSWORD = "only-for-these-tests"
CLIP = "7" * 64
CLIP_FPS = 6
NAMES = {"shift": "Shift", "ctrl": "Control", "enter": "Enter", "space": "Space"} | {
    "alt": "Alt",
    "right": "ArrowRight",
    "left": "ArrowLeft",
    "up": "ArrowUp",
}
WAIT_MS = 90_000  # a page needs up to 20 s on two busy cores


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def accounts(label_studio) -> dict[str, Account]:
    def account(name: str) -> Account:
        return ensure_account(label_studio.url, label_studio.token, email=f"{name}@vitau.local", password=f"{PASSWORD}-{name}")

    return {name: account(f"reader-{name}") for name in "abc"}


@pytest.fixture(scope="module")
def tasks(label_studio) -> Iterator[dict[str, dict[str, Any]]]:
    """Build the tasks of two drawn people with a palsy, as the flow does, without ingestion."""
    client = connect(label_studio.url, label_studio.token)
    before = {project.id for project in client.projects.list()}
    yield {subject: drawn_task(label_studio, subject, index) for index, subject in enumerate(SUBJECTS)}
    for subject in SUBJECTS:  # the demo's journey counts what is in the same store
        shutil.rmtree(label_studio.store / "subjects" / subject)
    for project in list(client.projects.list()):  # the doctor's journey opens the first picture of any project
        if project.id not in before:
            client.projects.delete(project.id)


def drawn_task(label_studio, subject: str, index: int) -> dict[str, Any]:
    person, rng = draw_person(5, index, palsied=True), np.random.default_rng(index)
    drawings = [draw_crop(person, task, amount, rng, size=256) for task in TASKS for amount in (0.5, 0.9)]
    shown = choose_key_frames(np.stack([drawing.landmarks.ravel() for drawing in drawings]), {})
    home = label_studio.store / "subjects" / subject
    (home / "keyframes").mkdir(parents=True)
    (home / "clips" / CLIP).mkdir(parents=True)
    for frame in shown:
        picture = cv2.cvtColor(drawings[frame].image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(home / "keyframes" / f"{CLIP[:16]}-{frame}.jpg"), picture)
    write_clip(home / "clips" / CLIP / "raw.mp4", person, frames_per_task=1)
    store = label_studio.store.as_uri()
    images = [image_url(store, f"subjects/{subject}/keyframes/{CLIP[:16]}-{frame}.jpg") for frame in shown]
    clips = [image_url(store, f"subjects/{subject}/clips/{CLIP}/raw.mp4")]
    frames = [f"{CLIP}:{frame}" for frame in shown]
    task = build_task(subject, images, frames, synthetic=True, clips=clips)
    return with_captions(
        with_player(task, clips[0], CLIP_FPS), ["rest\n0.0 s", "brows\n1.2 s", *["\n6.0 s"] * (len(images) - 2)]
    )


@pytest.fixture
def reader(browser, label_studio, accounts) -> Iterator[Callable[[str], Page]]:
    """Return a function that logs a reader in, in a separate browser context."""
    contexts = []

    def log_in(name: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", accounts[name].email)
        page.fill("input[name=password]", f"{PASSWORD}-reader-{name}")
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/user/login" not in url)
        return page

    yield log_in
    for context in contexts:
        context.close()


def open_labeling(page: Page, url: str, project: ReaderProject, task: int) -> None:
    page.goto(f"{url}/projects/{project.id}/data?labeling=1")
    wait_for_task(page, task)


def wait_for_task(page: Page, task: int) -> None:
    """Wait until the page shows a task with its first picture; earlier key presses would be lost."""
    page.wait_for_function(f"window.Htx?.task?.id === {task} && Htx.annotationStore.selected?.userGenerate")
    page.wait_for_function("[...document.querySelectorAll('.vitau-face img')].some(picture => picture.naturalWidth > 0)")


def press(page: Page, key: str) -> None:
    *held, last = key.split("+")
    last = NAMES.get(last, last.upper() if held else last)
    page.keyboard.press("+".join([*(NAMES[name] for name in held), last]))


def submit(page: Page, key: str) -> None:
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST") as answered:
        press(page, key)
    assert answered.value.status == 201


def answer_by_key(page: Page, answer: Answer, *, adjudication: bool = False) -> list[str]:
    """Enter an answer by its hotkeys, with the unusable pictures; return the pressed keys."""
    whole = [region for region in to_result(answer) if region["from_name"] != "frame"]
    *pressed, enter = key_presses(label_config(adjudication=adjudication), whole)
    for key in pressed:
        press(page, key)
    for index in sorted(answer.unusable):
        pressed += [*turn_to_picture(page, index), FRAME_KEYS["unusable"]]
        press(page, pressed[-1])
    submit(page, enter)
    return [*pressed, enter]


def turn_to_picture(page: Page, index: int) -> list[str]:
    """Turn to a picture one by one; return the pressed keys.

    Label Studio turns to the picture after the one it *drew* last: two key presses before it draws turn only once.
    """
    number = page.locator("[class*=pagination__page-indicator]")
    pressed = []
    while (shown := int(number.inner_text().split()[0])) <= index:
        pressed.append("space")
        press(page, "space")
        expect(number).to_have_text(re.compile(rf"^{shown + 1}\b"), timeout=WAIT_MS)
    return pressed


def answer_of(*regions: AU, side: Side | None = None, unclear: tuple[AU, ...] = (), **more: Any) -> Answer:
    affected = {au: None if au in unclear else au in regions for au in AUS}
    return Answer(affected=affected, side=side, **more)


COMPLETE = answer_of(AU.AU1, AU.AU2, AU.AU6, AU.AU12, AU.AU25, side=Side.LEFT)
SMILE = answer_of(AU.AU9, AU.AU12, side=Side.RIGHT, unclear=(AU.AU26,), grade=4, unusable=frozenset({2}))
OTHER = answer_of(AU.AU9, side=Side.RIGHT, unclear=(AU.AU26,), grade=3, unusable=frozenset())
RULING = Answer(affected={AU.AU12: True}, side=Side.RIGHT, grade=4)


def answers_of(rows: list[LedgerRow]) -> dict[tuple[str, str], Answer]:
    """Convert ledger rows to answers, by reader and subject."""
    answers = {}
    for row in rows:
        same = [other for other in rows if (other.reader, other.subject) == (row.reader, row.subject)]
        assert len(same) == len(AUS)
        affected = {other.au: other.affected for other in same if other.asked}
        answers[row.reader, row.subject] = Answer(affected=affected, side=row.side, grade=row.grade, note=row.note)
    return answers


def test_two_readers_and_an_adjudicator_label_two_people_by_keyboard_alone(
    client, project, tasks, reader, label_studio, tmp_path
):
    one, two = SUBJECTS
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    for subject in SUBJECTS:
        catalog.add_subject(Subject(pseudonym=subject, cohort=Cohort.PALSY, source="synthetic", synthetic=True))
    blind = {name: project(name) for name in "ab"}
    for name, second in (("a", SMILE), ("b", OTHER)):
        push(client, blind[name], list(tasks.values()))
        first_task, second_task = [task.id for task in open_tasks(client, blind[name])]
        page = reader(name)
        open_labeling(page, label_studio.url, blind[name], first_task)
        assert_no_identity(page)
        pressed = answer_by_key(page, COMPLETE)
        assert len(pressed) == 7
        wait_for_task(page, second_task)
        answer_by_key(page, second)
        catalog.append_answers(pull(client, blind[name], SUBJECTS).rows)

    ledger = catalog.ledger()
    plain = answer_of(AU.AU9, AU.AU12, side=Side.RIGHT, unclear=(AU.AU26,), grade=4)
    assert answers_of(ledger) == {("a", one): COMPLETE, ("b", one): COMPLETE, ("a", two): plain, ("b", two): OTHER}
    assert {row.frames_shown for row in ledger} == {tuple(task["data"]["frames"]) for task in tasks.values()}
    assert {(row.stage, row.suggestion, row.suggested_by, row.marks) for row in ledger} == {(Stage.READER, None, None, ())}
    assert all(row.lead_time_s and row.lead_time_s > 0 for row in ledger)
    assert pull(client, blind["a"], SUBJECTS).unusable_frames == {tasks[two]["data"]["frames"][2]}
    state = consensus(ledger, "ab")
    assert [(case.subject, case.regions, case.side) for case in state.disagreements] == [(two, (AU.AU12,), False)]

    adjudication = project("c", Stage.ADJUDICATION)
    disputed = [row for row in ledger if row.subject == two]
    suggestions = {AU.AU9: 0.41, AU.AU12: 0.07}
    case = build_adjudication_task(tasks[two], disputed, (AU.AU12,), suggestions=suggestions, suggested_by="vitau-regions/1")
    push(client, adjudication, [with_measures(case, measured_block(label_studio, two))])
    (third_task,) = [task.id for task in open_tasks(client, adjudication)]
    page = reader("c")
    open_labeling(page, label_studio.url, adjudication, third_task)
    check_measures(page)
    shown = page.inner_text(".vitau")
    assert [
        text in shown for text in ("Decide the marked rows", "IV", "III", "A model suggests", "vitau-regions/1", "0.41")
    ] == [True] * 6
    answer_by_key(page, RULING, adjudication=True)
    catalog.append_answers(pull(client, adjudication, SUBJECTS).rows)
    settled = consensus(catalog.ledger(), "ab")
    assert answers_of(catalog.ledger())["c", two] == RULING, "the other regions were not asked about"
    shown_by_reader = {(row.reader, row.measures_shown) for row in catalog.ledger()}
    assert shown_by_reader == {("a", None), ("b", None), ("c", measures_version())}
    assert [(label.subject, label.side) for label in settled.labels] == [(one, Side.LEFT), (two, Side.RIGHT)]
    assert [au for au in AUS if settled.labels[1].affected.get(au)] == [AU.AU9, AU.AU12]
    assert AU.AU26 not in settled.labels[1].affected
    assert settled.adjudicated == (two,)


def measured_block(label_studio, subject: str) -> MeasureBlock:
    """Return the measures of a person's clip as the flow shows them."""
    clip = label_studio.store / "subjects" / subject / "clips" / CLIP / "raw.mp4"
    source = Source(item="", parts=(Part(path=clip, options=RecordingOptions()),))
    analysis = analyze(read_series(source, open_backend(BACKEND), ReadingState()))
    visit = VisitMeasures(visit=Visit(name="secret", recorded_at=None, clips=(CLIP,)), analysis=analysis)
    return measure_block(PersonMeasures(subject=subject, visits=(visit,), analysis=analysis, num_clips=1, num_unmeasured=0))


def check_measures(page: Page) -> None:
    """Check that the measures are readable at a wide and at a narrow width, and that nothing is cut off."""
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 900})
        block = page.locator(".vitau-measures")
        block.scroll_into_view_if_needed()
        text = block.inner_text()
        assert [
            words for words in ("Asymmetry of movement", "Weaker", "Smiling", "At rest", "may be wrong") if words not in text
        ] == []
        assert block.evaluate("block => block.scrollWidth <= block.clientWidth && block.clientWidth > 250")
        assert [name for name in (*SUBJECTS, "secret", CLIP[:16]) if name in page.inner_text(".vitau")] == []
    page.set_viewport_size({"width": 1440, "height": 900})


def assert_no_identity(page: Page) -> None:
    """Check that no text, title or description identifies a person, and that URLs hold only the pseudonym and a digest."""
    text = page.evaluate(
        """[document.title, document.body.innerText, ...[...document.querySelectorAll("*")].flatMap(
            seen => [...seen.attributes].filter(given => given.name !== "src").map(given => given.value))].join(" ")"""
    )
    assert [subject for subject in SUBJECTS if subject in text] == []
    assert CLIP[:16] not in text
    addresses = page.evaluate(
        "[...document.querySelectorAll('.vitau img, .vitau video, body > video source')].map(seen => seen.src)"
    )
    home = r"http://127\.0\.0\.1:\d+/data/local-files/\?d=subjects/[0-9a-f]{16}/"
    harmless = rf"blob:http://127\.0\.0\.1:\d+/[0-9a-f-]{{36}}|{home}(keyframes/{CLIP[:16]}-\d+\.jpg|clips/{CLIP}/raw\.mp4)"
    assert len(addresses) >= 2
    assert [address for address in addresses if not re.fullmatch(harmless, address)] == []


def bottom_of(shown: Locator) -> float:
    box = shown.bounding_box()
    assert box
    return box["y"] + box["height"]


def step(page: Page, key: str, arrived: str) -> None:
    """Press a key until the player arrives; one that is pressed while the player still loads is lost."""
    for timeout_ms in (10_000, 20_000):
        press(page, key)
        with suppress(PlaywrightTimeoutError):
            page.wait_for_function(arrived, timeout=timeout_ms)
            return
    press(page, key)
    page.wait_for_function(arrived)


def check_slow_motion(page: Page) -> None:
    """Check that keys step through the frames of the clip beside the questions and play it, at a quarter of its speed too."""
    player = "document.querySelector('body > video')"  # the page shows it on a canvas
    page.wait_for_function(f"{player}?.readyState >= 2 && {player}.videoWidth === 640")
    page.get_by_role("button", name="Step forward").wait_for()
    for key, frame in ((FRAME_ON_KEY, 1), (FRAME_ON_KEY, 2), (FRAME_BACK_KEY, 1)):
        step(page, key, f"Math.floor({player}.currentTime * {CLIP_FPS} + 0.1) === {frame}")
    page.get_by_role("button", name="Video settings").click()
    page.locator("input[class*=slider__input]").fill("0.25")
    page.wait_for_function(f"{player}.playbackRate === 0.25")
    page.get_by_role("button", name="Video settings").click()
    press(page, PLAY_KEYS[1])
    page.wait_for_function(f"!{player}.paused && {player}.currentTime > {1.5 / CLIP_FPS}")
    press(page, PLAY_KEYS[1])
    page.wait_for_function(f"{player}.paused")


def test_a_mark_is_stored_with_its_picture_and_region_and_the_clip_plays(client, project, tasks, reader, label_studio):
    mine = project("a")
    push(client, mine, [tasks[SUBJECTS[0]]])
    (task,) = [task.id for task in open_tasks(client, mine)]
    page = reader("a")
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if "already added" in message.text else None)
    open_labeling(page, label_studio.url, mine, task)
    assert page.locator(".vitau-map").evaluate("map => map.clientWidth > 200 && map.clientHeight > 200")
    check_slow_motion(page)
    pictures = page.locator(".vitau-small")
    assert pictures.all_inner_texts()[:2] == ["1 rest\n0.0 s", "2 brows\n1.2 s"]
    assert len({round(small["y"]) for number in range(8) if (small := pictures.nth(number).bounding_box())}) == 1, "one row"
    assert page.locator(".vitau-their").all_inner_texts() == ["their right ◂\n▸ their left"] * 2
    ends = [bottom_of(page.locator(name)) for name in (".lsf-video-segmentation", "textarea[name=note]")]
    assert max(ends) < 830, "questions and clip are in view, above the buttons, at 1440 × 900"

    press(page, "space")
    press(page, MARK_KEYS[AU.AU12])
    canvas = page.locator(".vitau-face canvas").first.bounding_box()
    assert canvas
    page.mouse.move(canvas["x"] + 0.25 * canvas["width"], canvas["y"] + 0.5 * canvas["height"])
    page.mouse.down()
    for share in (0.6, 0.7, 0.75):
        page.mouse.move(canvas["x"] + share * canvas["width"], canvas["y"] + share * canvas["height"])
    page.mouse.up()
    for key in ("6", "x"):
        press(page, key)
    page.fill("textarea[name=note]", "the right corner stays")
    page.press("textarea[name=note]", "Shift+Enter")
    submit(page, SUBMIT_KEYS[1])
    pulled = pull(client, mine, SUBJECTS)
    assert pulled.skipped == ()
    (row,) = [row for row in pulled.rows if row.marks]
    assert (row.au, row.affected, row.side, row.note) == (AU.AU12, True, Side.RIGHT, "the right corner stays")
    (box,) = row.marks
    assert box.frame == tasks[SUBJECTS[0]]["data"]["frames"][1]
    assert box.box == pytest.approx((0.25, 0.5, 0.5, 0.25), abs=0.01)
    assert warnings == []


def test_an_answer_needs_a_side_and_may_have_no_affected_region(client, project, tasks, reader, label_studio):
    mine = project("a")
    push(client, mine, [tasks[SUBJECTS[0]]])
    (task,) = [task.id for task in open_tasks(client, mine)]
    page = reader("a")
    open_labeling(page, label_studio.url, mine, task)
    press(page, SUBMIT_KEYS[0])
    page.wait_for_selector("text=Which side? Press z (left), x (right), c (both) or n (none).")
    page.keyboard.press("Enter")
    press(page, "1")
    press(page, SUBMIT_KEYS[0])
    page.wait_for_selector("text=Which side? Press z (left), x (right), c (both) or n (none).")
    assert pull(client, mine, SUBJECTS).rows == ()
    page.keyboard.press("Enter")
    press(page, "1")
    press(page, "n")
    submit(page, SUBMIT_KEYS[0])
    assert {(row.affected, row.side) for row in pull(client, mine, SUBJECTS).rows} == {(False, None)}


def test_a_contradiction_is_shown_before_submitting_and_given_back(client, project, tasks, reader, label_studio):
    mine = project("a", severity=True)
    push(client, mine, list(tasks.values()))
    wrong, other = [task.id for task in open_tasks(client, mine)]
    page = reader("a")
    open_labeling(page, label_studio.url, mine, wrong)
    check_rows(page)
    shown = page.locator(".vitau-wrong")
    expect(shown).to_have_text("", use_inner_text=True)
    for keys, line in (
        (["z"], "A side and no region: mark the region, or choose “None affected”"),
        (["1", "n"], "A region is affected: choose its side, or unmark the region"),
        (["z", UNAFFECTED_KEYS[AU.AU1]], "Forehead, inner brow (AU1): choose one of “Affected” and “Not”"),
        ([UNAFFECTED_KEYS[AU.AU1], UNCLEAR_KEYS[AU.AU1]], "(AU1): choose one of “Affected” and “Cannot tell”"),
        (["1", UNAFFECTED_KEYS[AU.AU1]], "Forehead, inner brow (AU1): choose one of “Not” and “Cannot tell”"),
    ):
        for key in keys:
            press(page, key)
        expect(shown).to_contain_text(line, use_inner_text=True)
    click_severity(page, "severity-1", AU.AU12)
    expect(shown).to_contain_text("Lip corner (AU12): a severity of what is not affected", use_inner_text=True)
    click_severity(page, "severity-1", AU.AU12)
    submit(page, SUBMIT_KEYS[0])
    wait_for_task(page, other)
    first = pull(client, mine, SUBJECTS)
    assert (first.rows, len(first.skipped), give_back(client, first.contradictory)) == ((), 1, 1)
    assert give_back(client, first.contradictory) == 0
    write_pull_number(client, first.state)
    answer_by_key(page, answer_of())
    wait_for_task(page, wrong)
    reason = "AU1 are answered both “not affected” and “cannot tell”; choose one of them"
    expect(page.locator(".vitau-returned")).to_contain_text(f"Your last answer came back: {reason}")
    click_severity(page, "severity-2", AU.AU12)
    click_severity(page, "synkinesis", AU.AU6)
    assert answer_by_key(page, answer_of(AU.AU1, AU.AU6, AU.AU12, side=Side.LEFT)) == ["1", "4", "6", "z", "ctrl+enter"]
    second = pull(client, mine, SUBJECTS, state=first.state, seen=first.seen)
    assert (len(second.rows), second.skipped, second.state.num_skipped, second.notice) == (2 * len(AUS), (), 0, None)
    graded = {row.au: (row.severity, row.synkinesis) for row in second.rows if row.affected}
    assert graded == {AU.AU1: (None, None), AU.AU6: (None, True), AU.AU12: (2, None)}
    assert project("a") == mine, "Label Studio keeps lists with answers, so that this project goes on asking"
    assert client.projects.get(mine.id).label_config == label_config(severity=True)
    project("b", severity=True)
    assert client.projects.get(project("b").id).label_config == label_config()


def check_rows(page: Page) -> None:
    """Check that each region is one row of choices, and that rows, side, note and clip are in view at 1440 × 900."""
    columns = [page.locator(".vitau-column").nth(number).locator("input") for number in range(8)]
    for row in range(len(AUS)):
        assert len({round(box["y"]) for column in columns if (box := column.nth(row).bounding_box())}) == 1
    names = (".vitau-column >> nth=7", ".lsf-video-segmentation", "textarea[name=note]")
    assert max(bottom_of(page.locator(name)) for name in names) < 830


def click_severity(page: Page, name: str, au: AU) -> None:
    column = [*STATES, *SEVERITIES, *SYNKINESES].index(name)
    page.locator(".vitau-column").nth(column).locator("input").nth(AUS.index(au)).click()


def test_a_project_of_an_earlier_version_gets_this_page_and_keeps_its_answers(client, project, tasks, reader, label_studio):
    mine = project("a")
    client.projects.update(mine.id, label_config=EARLIER_PAGE.read_text())
    data = {name: value for name, value in tasks[SUBJECTS[0]]["data"].items() if name not in PAGE_DATA}
    push(client, mine, [{"data": data}, tasks[SUBJECTS[1]]])
    answered, open_task = [task.id for task in open_tasks(client, mine)]
    client.annotations.create(answered, result=to_result(COMPLETE))  # an earlier version chooses no “not affected”
    before = pull(client, mine, SUBJECTS).rows
    assert project("a") == project("a") == mine
    assert pull(client, mine, SUBJECTS).rows == before
    assert client.projects.get(mine.id).label_config == label_config()
    page = reader("a")
    open_labeling(page, label_studio.url, mine, open_task)
    answer_by_key(page, COMPLETE)
    client.projects.update(mine.id, label_config=label_config().replace("Affected", "Palsied", 1))
    with pytest.raises(LabelingError, match="was changed in Label Studio; restore it"):
        project("a")


def test_a_skipped_person_comes_back_last_also_in_an_older_project(client, project, tasks, reader, label_studio):
    mine = project("a")
    client.projects.update(mine.id, skip_queue="REQUEUE_FOR_OTHERS")  # as earlier versions left it
    assert project("a") == mine
    push(client, mine, list(tasks.values()))
    skipped, other = [task.id for task in open_tasks(client, mine)]
    page = reader("a")
    open_labeling(page, label_studio.url, mine, skipped)
    page.get_by_role("button", name="skip-task").click()
    wait_for_task(page, other)
    before = pull(client, mine, SUBJECTS)
    assert (before.rows, before.skipped, before.state.num_skipped) == ((), (), 1)
    answer_by_key(page, COMPLETE)
    wait_for_task(page, skipped)
    answer_by_key(page, answer_of())
    after = pull(client, mine, SUBJECTS, state=before.state, seen=before.seen)
    assert (len(after.rows), after.state.num_skipped, after.whole) == (2 * len(AUS), 0, False)


def test_the_community_edition_lets_a_reader_open_another_readers_project(client, project, tasks, label_studio, accounts):
    """Without a proxy, nothing separates readers. The operators' page lists what the proxy has to refuse."""
    theirs = project("a")
    push(client, theirs, [tasks[SUBJECTS[0]]])
    (task,) = open_tasks(client, theirs)
    create_annotation(client, task.id, answer_of())
    with httpx.Client(base_url=label_studio.url, follow_redirects=True, timeout=60) as other:
        other.get("/user/login/")
        form = {
            "email": accounts["b"].email,
            "password": f"{PASSWORD}-reader-b",
            "csrfmiddlewaretoken": other.cookies["csrftoken"],
        }
        other.post("/user/login/", data=form, headers={"Referer": label_studio.url})
        opened = {
            page: other.get(page).status_code
            for page in (
                f"/projects/{theirs.id}/data",
                f"/api/projects/{theirs.id}/",
                f"/api/projects/{theirs.id}/export?exportType=JSON",
                f"/api/tasks/{task.id}/",
                f"/api/tasks/{task.id}/annotations/",
                f"/api/dm/views?project={theirs.id}",
            )
        }
    assert opened == dict.fromkeys(opened, 200)


def test_an_account_is_created_once_and_keeps_its_password(label_studio, accounts):
    again = ensure_account(label_studio.url, label_studio.token, email=accounts["a"].email, password=f"{PASSWORD}-reader-a")
    assert again == accounts["a"]
    assert len({account.id for account in accounts.values()}) == 3


@pytest.mark.parametrize(
    ("email", "password", "token", "sentence"),
    [
        ("reader-a@vitau.local", "another-password", None, "the account reader-a@vitau.local exists with another password"),
        ("reader-z@vitau.local", "short", None, "does not create the account reader-z@vitau.local; a password has 8 to 64"),
        ("reader-z@vitau.local", "long-enough-word", "wrong", "Label Studio refuses the token; take the one from its page"),
    ],
)
def test_an_account_that_cannot_be_created_is_one_sentence(label_studio, accounts, email, password, token, sentence):
    with pytest.raises(LabelingError, match=re.escape(sentence)):
        ensure_account(label_studio.url, token or label_studio.token, email=email, password=password)
