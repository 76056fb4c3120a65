"""Several trials in one process, each with the same results as alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from tests.trainables.samples import BASE, OPTIMIZERS
from trainables.fused.lane_stack import LaneStack
from trainables.fused.parameter_bank import ParameterBank
from trainables.fused_trials import FusedTrials
from trainables.lane_host import TURN_S, LaneHost
from trainables.termination import Termination
from trainables.tune import TorchTrainable

SAMPLES = "tests.trainables.samples."
CLOCKED = ("epoch_s", "peak_memory_mb", "followed", "lane_obstacle", "process")
EPOCHS = 4


class Lane(TorchTrainable):
    """A trial without Ray's own base class."""

    def __init__(self, config: dict[str, Any]) -> None:
        if config.pop("unmade", False):
            raise OSError("no room for one more")
        self.setup(config)

    def train(self) -> dict[str, Any]:
        return self.step()

    def stop(self) -> None:
        self.cleanup()


def config(number: int, **fields: Any) -> dict[str, Any]:
    """The config of a trial that can be trained with others, with its own depth, rate and dropout."""
    net = {"nodes": 8, "layers": 2 + number % 3, "dropout": 0.1 * (number % 2)}
    optimizer = {**OPTIMIZERS["AdamW"], "optimizer_config": {"lr": 0.01 * (number + 1)}}
    trial = {"seed": 3, "id": number}
    return {**BASE, "net_config": net, "scheduler": None, "scheduler_config": {}, **optimizer} | {
        "trial": trial,
        **fields,
    }


class Driver:
    """The driver's part: sends calls, and keeps the answers."""

    def __init__(self, host: LaneHost) -> None:
        self.host, self.tickets, self.fused = host, itertools.count(), 0
        self.calls: list[tuple[Any, ...]] = []
        self.asked: dict[int, tuple[int, str]] = {}
        self.answers: dict[tuple[int, str], Any] = {}

    def ask(self, lane: int, method: str, *args: Any) -> None:
        ticket = next(self.tickets)
        self.asked[ticket] = lane, method
        self.calls.append((ticket, lane, method, args, {}))

    def turn(self) -> list[int]:
        """The lanes that were answered."""
        calls, self.calls = self.calls, []
        answers, fused = self.host.turn(calls)
        self.fused = max(self.fused, fused)
        for answer in answers:
            self.answers[self.asked[answer.ticket]] = answer.error or answer.value
        return [self.asked[answer.ticket][0] for answer in answers]

    def train_all(self, configs: Mapping[int, dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
        for lane, each in configs.items():
            self.ask(lane, "create", each)
            self.ask(lane, "train_buffered", EPOCHS, 60.0)
        while any((lane, "train_buffered") not in self.answers for lane in configs):
            self.turn()
        return {lane: timeless(self.answers[lane, "train_buffered"]) for lane in configs}


def timeless(results: Any) -> Any:
    if isinstance(results, Exception):
        return f"{type(results).__name__}: {results}"
    return [repr({k: v for k, v in r.items() if k not in CLOCKED and k != "error"}) for r in results]


def alone(each: dict[str, Any]) -> Any:
    return timeless(Lane(dict(each)).train_buffered(EPOCHS, 60.0))


@pytest.fixture(params=["in turn", "fused"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(LaneHost(Lane, FusedTrials() if request.param == "fused" else None))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_lane_trains_as_the_trial_alone_to_the_last_bit(driver: Driver, optimizer: str) -> None:
    configs = {number: config(number, **OPTIMIZERS[optimizer]) for number in range(3)}
    trained = driver.train_all(configs)
    assert trained == {number: alone(each) for number, each in configs.items()}
    assert driver.fused == (3 if driver.host._fusion else 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unmade": True},
        {"net": SAMPLES + "Missing"},
        {"net": SAMPLES + "Failing", "net_config": {}},
        {"net": SAMPLES + "Hungry", "net_config": {}},
        {"criterion": SAMPLES + "BadBackward"},
        {"train": SAMPLES + "second_epoch", "net_config": {"kind": "fails"}},
        {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 1e20}},
    ],
    ids=["its making", "net", "forward", "memory", "backward", "loop", "NaN"],
)
def test_what_goes_wrong_in_one_lane_touches_no_other(driver: Driver, wrong: dict[str, Any]) -> None:
    configs = {0: config(0), 1: config(1, **wrong), 2: config(2)}
    trained = driver.train_all(configs)
    assert trained[0] == alone(configs[0])
    assert trained[2] == alone(configs[2])
    if "unmade" in wrong:
        assert str(driver.answers[1, "create"]) == "no room for one more"
        assert trained[1] == "RuntimeError: there is no lane 1"
    else:
        assert trained[1] == alone(configs[1])
        assert "outcome" in trained[1][-1]


def test_lanes_that_no_memory_holds_together_train_in_smaller_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With memory for only two together, four lanes neither fail nor end their process."""
    allocate = ParameterBank.allocate

    def allocate_for_two(bank: ParameterBank) -> None:
        if bank.lanes[-1] > 1:
            raise MemoryError
        allocate(bank)

    monkeypatch.setattr(ParameterBank, "allocate", allocate_for_two)
    driver = Driver(LaneHost(Lane, FusedTrials()))
    configs = {number: config(number) for number in range(4)}
    assert driver.train_all(configs) == {number: alone(each) for number, each in configs.items()}
    assert driver.fused == 2


def test_an_error_that_is_no_lanes_own_is_told_by_each_and_ends_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError("no rows")

    monkeypatch.setattr(LaneStack, "_shuffle", no_memory)
    trained = Driver(LaneHost(Lane, FusedTrials())).train_all({0: config(0), 1: config(1)})
    assert ["MemoryError: no rows" in trained[lane][0] for lane in (0, 1)] == [True, True]


def test_lanes_come_and_go_and_the_others_keep_their_bits(driver: Driver, tmp_path: Any) -> None:
    """One is saved and stopped midway, and goes on in another lane; one joins late."""
    configs = {number: config(number) for number in range(3)}
    for lane in (0, 1):
        driver.ask(lane, "create", dict(configs[lane]))
        driver.ask(lane, "train_buffered", 2, 60.0)
    while len(driver.answers) < 4:
        driver.turn()
    begun = dict(driver.answers)
    driver.ask(1, "save_checkpoint", str(tmp_path))
    driver.ask(1, "stop")
    driver.ask(2, "create", dict(configs[2]))
    driver.ask(7, "create", dict(configs[1]))
    driver.ask(7, "load_checkpoint", str(tmp_path))
    for lane, epochs in ((0, 2), (7, 2), (2, EPOCHS)):
        driver.ask(lane, "train_buffered", epochs, 60.0)
    while any((lane, "train_buffered") not in driver.answers for lane in (2, 7)) or (
        driver.answers[0, "train_buffered"] == begun[0, "train_buffered"]
    ):
        driver.turn()
    whole = {lane: timeless(driver.answers[lane, "train_buffered"]) for lane in (0, 2, 7)}
    assert timeless(begun[0, "train_buffered"]) + whole[0] == alone(configs[0])
    assert timeless(begun[1, "train_buffered"]) + whole[7] == alone(configs[1])
    assert whole[2] == alone(configs[2])


# Turns, with lanes that train nothing


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Toy:
    """A lane whose epochs take a given time."""

    def __init__(self, clock: Clock, epoch_s: float, ends: int = 99) -> None:
        self.clock, self.epoch_s, self.ends, self.epoch = clock, epoch_s, ends, 0
        self.has_progress, self.stopped, self.first = False, False, True

    def train(self) -> dict[str, Any]:
        self.clock.now += self.epoch_s
        self.epoch, self.has_progress = self.epoch + 1, True
        return {"epoch": self.epoch}

    def may_follow(self, result: Mapping[str, Any]) -> bool:
        return self.epoch < self.ends

    def save(self) -> str:
        self.has_progress = False
        return f"saved at {self.epoch}"

    def skip_first_step(self) -> None:
        self.first = False

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def toys() -> Callable[..., Driver]:
    """A host of toys: one for each number of seconds that an epoch takes."""

    def made(*seconds: float, ends: int = 99, termination: Termination | None = None) -> Driver:
        clock = Clock()
        host = LaneHost(lambda epoch_s: Toy(clock, epoch_s, ends), None, termination, clock=clock)
        driver = Driver(host)
        for lane, epoch_s in enumerate(seconds):
            driver.ask(lane, "create", epoch_s)
        driver.turn()
        return driver

    return made


def epochs(driver: Driver, lane: int) -> list[int]:
    return [result["epoch"] for result in driver.answers[lane, "train_buffered"]]


def test_lanes_are_served_in_turn_and_hand_over_full_loads(toys: Callable[..., Driver]) -> None:
    driver = toys(0.1, 0.1)
    for lane in (0, 1):
        driver.ask(lane, "train_buffered", 99, TURN_S)
    assert sorted(driver.turn()) == [0, 1]
    assert (epochs(driver, 0), epochs(driver, 1)) == ([1, 2, 3], [1, 2])


class ToyFusion:
    """Trains all lanes together, each epoch in 0.6 s."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.ahead = clock, set[Any]()

    def train_ahead(self, lanes: Sequence[Any]) -> int:
        self.clock.now += 0.6
        self.ahead.update(lanes)
        return len(lanes)

    def is_ahead(self, lane: Any) -> bool:
        return lane in self.ahead

    def obstacle(self, lane: Any) -> str:
        return ""


def test_lanes_that_train_together_answer_together_and_stay_in_step() -> None:
    clock = Clock()
    driver = Driver(LaneHost(lambda: Toy(clock, 0.0), ToyFusion(clock), clock=clock))
    for lane in range(3):
        driver.ask(lane, "create")
        driver.ask(lane, "train_buffered", 99, TURN_S)
    driver.turn()
    assert [epochs(driver, lane) for lane in range(3)] == [[1], [1], [1]]


def test_a_turn_ends_when_most_lanes_have_nothing_left_to_train(toys: Callable[..., Driver]) -> None:
    driver = toys(0.01, 0.01, 0.01)
    for lane, wanted in ((0, 1), (1, 2), (2, 9)):
        driver.ask(lane, "train_buffered", wanted, TURN_S)
    assert driver.turn() == [0, 1]
    driver.turn()
    assert epochs(driver, 2) == list(range(1, 10))


def test_a_slow_lane_keeps_no_answer_of_the_others_back(toys: Callable[..., Driver]) -> None:
    driver = toys(5.0, 5.0)
    for lane in (0, 1):
        driver.ask(lane, "train_buffered", 99, TURN_S)
    assert driver.turn() == [0]
    assert driver.turn() == [1]


def test_a_call_that_asks_for_one_epoch_gets_one_result(toys: Callable[..., Driver]) -> None:
    driver = toys(0.1)
    driver.ask(0, "train")
    driver.turn()
    assert driver.answers[0, "train"]["epoch"] == 1


def test_a_stopped_lane_trains_no_further(toys: Callable[..., Driver]) -> None:
    driver = toys(1.0, 1.0)
    lane = driver.host._lanes[1]
    for number in (0, 1):
        driver.ask(number, "train_buffered", 99, TURN_S)
    driver.turn()
    driver.ask(1, "stop")
    assert driver.turn() == [1, 1]  # its call to train is answered too, else turns would go on for it
    assert (lane.stopped, lane.epoch, driver.answers[1, "train_buffered"]) == (True, 0, [])


def test_a_lane_says_once_whether_it_is_trained_with_others(driver: Driver) -> None:
    driver.train_all({0: config(0), 1: config(1, train=SAMPLES + "counting")})
    obstacles = {
        lane: [r.get("lane_obstacle") for r in driver.answers[lane, "train_buffered"]] for lane in (0, 1)
    }
    alone = "lanes are not fused"
    fuses = driver.host._fusion is not None
    assert obstacles[0] == ["" if fuses else alone, None, None, None]
    assert obstacles[1] == ["a training loop of the user's own" if fuses else alone, None, None, None]


def test_only_one_lane_takes_the_first_step_of_a_process(toys: Callable[..., Driver]) -> None:
    driver = toys(0.1, 0.1)
    driver.ask(0, "train")
    driver.turn()
    driver.ask(2, "create", 0.1)
    driver.turn()
    assert [lane.first for lane in driver.host._lanes.values()] == [False, False, False]


class ProcessLeft(BaseException):
    """The process has left."""


class Leaving(Termination):
    def leave(self) -> None:
        raise ProcessLeft

    def _leave_if_idle(self) -> None:
        pass


def test_a_process_asked_to_leave_goes_once_each_lane_is_saved(toys: Callable[..., Driver]) -> None:
    termination = Leaving()
    driver = toys(1.0, 1.0, ends=1, termination=termination)
    for lane in (0, 1):
        driver.ask(lane, "train_buffered", 99, TURN_S)
    assert driver.turn() == [0]
    termination.requested = True
    driver.ask(0, "save")
    driver.ask(0, "train_buffered", 99, TURN_S)
    driver.turn()  # lane 0 has nothing to save and trains no further; lane 1 had not begun
    with pytest.raises(ProcessLeft):
        driver.turn()
    assert driver.answers[0, "save"] == "saved at 1"


def test_an_error_that_cannot_be_sent_is_told_in_words(toys: Callable[..., Driver]) -> None:
    class Local(Exception):
        pass

    def refuses() -> None:
        raise Local("not here")

    driver = toys(0.1)
    driver.host._lanes[0].save = refuses
    driver.ask(0, "save")
    driver.turn()
    assert str(driver.answers[0, "save"]) == "Local: not here"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, ""),
        ({"train": SAMPLES + "counting"}, "a training loop of the user's own"),
        (
            {"schedule": [{"after_epoch": 1, "config": {}}]},
            "its settings change during training (run.schedule)",
        ),
        ({"net": "no.such.Net"}, "it has ended"),
    ],
)
def test_a_trial_that_is_trained_by_itself_says_why(fields: dict[str, Any], why: str) -> None:
    torch.set_num_threads(1)
    assert FusedTrials().obstacle(Lane(config(0, **fields))) == why
