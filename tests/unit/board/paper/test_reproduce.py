from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from recbench.board.paper.published import NO_METHOD, possible, published
from recbench.board.paper.reproduce import OurNumber, PaperCell, reproduce
from recbench.board.paper.text import COLUMNS, groups, legend, line, summary
from recbench.errors import UsageError
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]
INSTRUMENT = {"users": 24772, "items": 9922, "interactions": 206153}
TABLES = [
    "ilrec-table1",
    "ilrec-table2",
    "ilrec-table3",
    "ilrec-table4",
    "ilrec-table5",
    "ilrec-table6",
    "minionerec-table1",
    "minionerec-table2",
    "minionerec-table3",
    "soft-table2",
]


def llm(paradigm: str, *, backbone: str = "llama-3.1-8b", epochs: float = 5.0, **more: Any) -> dict[str, Any]:
    """The settings of a fit; with semantic ids, those of the paper unless `more` says otherwise."""
    train: dict[str, Any] = {"epochs": epochs}
    identifiers: dict[str, Any] = {}
    if paradigm == "semantic-id":
        train["tasks"], identifiers["source"] = "lc-rec", "given"
    changed = {"paradigm": paradigm, "backbone": backbone, "train": train, "identifiers": identifiers}
    return {**changed, **more}


def cell(cells: list[PaperCell], *wanted: str) -> PaperCell:
    [found] = [one for one in cells if (one.dataset, one.paradigm, one.method, one.metric) == wanted]
    return found


def test_every_table_of_the_papers_is_there_and_whole() -> None:
    # methods x datasets x metrics: 3 without and 2 x 5 with a language model; 6 ablations; statistics; ...
    cells = {name: len(reproduce(published(name), [])) for name in TABLES}
    assert cells == {
        "ilrec-table1": (3 + 2 * 5) * 3 * 4,
        "ilrec-table2": 6 * 2 * 2 * 2,
        "ilrec-table3": 3 * 3,
        "ilrec-table4": 3 * 2 * 2,
        "ilrec-table5": 4 * 2 * 3,
        "ilrec-table6": 11 * 2 * 2,
        "minionerec-table1": 10 * 2 * 6,
        "minionerec-table2": 4 * 6,
        "minionerec-table3": 2 * 2 * 6,
        "soft-table2": (4 + 2 * 4) * 3 * 4,
    }
    printed = tomllib.loads((files("recbench.board.paper") / "published.toml").read_text())
    assert set(printed["tables"]) == set(TABLES)
    with pytest.raises(UsageError, match="did you mean 'ilrec-table1'"):
        published("ilrec-tabel1")


def test_cells_are_shown_by_data_set_and_paradigm() -> None:
    found = groups(reproduce(published("ilrec-table1"), []))
    assert len(found) == 3 * 3
    assert {one.method for one in found["art, no language model"]} == {"caser", "gru4rec", "sasrec"}
    assert {one.paradigm for one in found["game, title"]} == {"title"}
    assert list(groups(reproduce(published("ilrec-table3"), []))) == ["instrument", "art", "game"]


def test_what_has_not_been_run_is_said_to_be_not_run() -> None:
    cells = reproduce(published("ilrec-table1"), [])
    assert {one.verdict for one in cells} == {"not run"}
    assert cell(cells, "instrument", "semantic-id", "ilrec", "ndcg@10").published == 0.0889
    assert line(cells[0])[3:6] == ["–", "–", "not run"]
    assert len(line(cells[0])) == len(COLUMNS)


def test_ours_stands_beside_the_printed_value_with_ratio_interval_and_verdict(
    make_bundle: MakeBundle,
) -> None:
    # 10 of 100 users hit at rank 1: HR@5 0.1 against the printed 0.0786
    runs = [
        make_bundle(
            "sft",
            [1] * 10 + [0] * 90,
            seed=seed,
            dataset="instrument",
            llm=llm("title"),
            statistics=INSTRUMENT,
        )
        for seed in range(2)
    ]
    cells = reproduce(published("ilrec-table1"), runs)
    found = cell(cells, "instrument", "title", "sft", "hr@5")
    assert found.ours is not None
    assert found.ours.value == pytest.approx(0.1)
    assert found.ratio == pytest.approx(0.1 / 0.0786)
    # both seeds agree, so the interval is that of the users: 0.1 +- 1.984 sqrt(0.09 / 99) ...
    assert found.ours.high is not None
    assert found.ours.high - 0.1 == pytest.approx(1.984 * (0.09 / 99) ** 0.5, rel=1e-3)
    # ... which holds 0.0786; but another seed with the same users would give 0.1 again
    assert found.ours.predicted == pytest.approx((0.1, 0.1))
    assert (found.verdict, found.causes, found.seeds) == ("higher", ("unknown",), [0, 1])
    assert cell(cells, "instrument", "semantic-id", "sft", "hr@5").verdict == "not run"
    assert cell(cells, "art", "title", "sft", "hr@5").verdict == "not run"
    assert summary(published("ilrec-table1"), cells)[0] == "156 cells: 3 higher, 1 lower, 152 not run"


def test_with_nothing_run_the_counts_come_first_and_the_command_that_fills_them() -> None:
    for name, cells, gains in (("ilrec-table1", 156, 96), ("soft-table2", 144, 72)):
        table = published(name)
        assert summary(table, reproduce(table, [])) == [
            f"{cells} cells: {cells} not run",
            f"{gains} gains over SFT: {gains} not run",
            f"to fill it: recbench run --study {name}",
        ]
    grid = published("ilrec-table6")
    said = summary(grid, reproduce(grid, []))
    # Art's other value is the one that the paper found best
    assert "-m ilrec:alpha=0.1,beta=0.05 " in said[3]
    assert said[3].endswith("-d art -b llama-3.1-8b -p semantic-id --protocol ilrec --seeds 5")
    rewards = published("ilrec-table4")
    assert len(summary(rewards, reproduce(rewards, []))) == 1  # ours has SASRec alone


def test_a_method_that_nobody_can_run_stands_as_printed_with_the_reason() -> None:
    table = published("soft-table2")
    said = legend(table, reproduce(table, []))
    assert any(text.startswith("llm-cf as printed only: its public code ranks") for text in said)
    assert not any("llm-cf" in line for line in legend(published("ilrec-table1"), []))


@pytest.mark.parametrize(
    ("changed", "causes"),
    [
        ({}, ("unknown",)),
        ({"statistics": {**INSTRUMENT, "items": 9000}}, ("data",)),
        ({"llm": llm("title", backbone="tiny")}, ("backbone",)),
        ({"protocol": {"name": "candidates"}}, ("protocol",)),
        ({"llm": llm("title", epochs=3.0)}, ("budget",)),
        (
            {"llm": llm("title", backbone="tiny", epochs=3.0), "statistics": {}},
            ("data", "backbone", "budget"),
        ),
    ],
)
def test_a_difference_has_the_causes_that_are_known_else_none_that_is(
    make_bundle: MakeBundle, changed: dict[str, Any], causes: tuple[str, ...]
) -> None:
    settings = {"llm": llm("title"), "statistics": INSTRUMENT, **changed}
    runs = [make_bundle("sft", [0] * 100, seed=seed, dataset="instrument", **settings) for seed in (0, 1)]
    found = cell(reproduce(published("ilrec-table1"), runs), "instrument", "title", "sft", "hr@5")
    assert (found.verdict, found.causes) == ("lower", causes)


@pytest.mark.parametrize(
    ("changed", "causes"),
    [
        ({}, ("unknown",)),
        ({"identifiers": {"source": "rq-vae"}}, ("unknown",)),
        ({"identifiers": {"source": "residual-kmeans"}}, ("identifiers",)),
        ({"train": {"epochs": 5.0}}, ("tasks",)),
        ({"train": {"epochs": 5.0, "tasks": "lc-rec", "budget_epochs": 8.0}}, ("budget",)),
    ],
)
def test_lc_rec_has_its_own_identifiers_and_six_tasks(
    make_bundle: MakeBundle, changed: dict[str, Any], causes: tuple[str, ...]
) -> None:
    settings = {"llm": llm("semantic-id", **changed), "statistics": INSTRUMENT, "dataset": "instrument"}
    one = make_bundle("sft", [0] * 100, **settings)
    found = cell(reproduce(published("ilrec-table1"), [one]), "instrument", "semantic-id", "sft", "hr@5")
    assert (found.verdict, found.causes) == ("one seed", causes)


def test_the_soft_paper_selects_an_epoch_on_validation(make_bundle: MakeBundle) -> None:
    counts = {"users": 11658, "items": 5335, "interactions": 196508}
    more = {"dataset": "soft-game", "statistics": counts, "protocol": {"name": "soft"}}
    for train, causes in (({}, ("selection",)), ({"select": "best"}, ("unknown",))):
        fitted = llm("title", backbone="llama-3.2-3b", train={"epochs": 7.0, **train})
        one = make_bundle("sft", [0] * 100, llm=fitted, **more)
        found = cell(reproduce(published("soft-table2"), [one]), "soft-game", "title", "sft", "hr@5")
        assert (found.verdict, found.causes) == ("one seed", causes)


def test_a_printed_count_may_hold_one_padding_id(make_bundle: MakeBundle) -> None:
    one = make_bundle("popularity", [1, 0], seed=None, dataset="instrument", statistics=INSTRUMENT)
    cells = reproduce(published("ilrec-table3"), [one])
    assert [(c.ours and c.ours.value, c.verdict) for c in cells[:3]] == [
        (24772, "agrees"),
        (9922, "agrees"),
        (206153, "agrees"),
    ]
    assert {c.verdict for c in cells[3:]} == {"not run"}


def test_an_ablation_and_a_grid_are_found_by_their_parameters(make_bundle: MakeBundle) -> None:
    more = {"dataset": "instrument", "llm": llm("semantic-id"), "statistics": INSTRUMENT}
    assert published("ilrec-table2").params_of(published("ilrec-table2").rows[5])["alpha"] == 1.0  # art
    plain = make_bundle("ilrec", [1, 0, 0], **more)
    without = make_bundle("ilrec", [0, 0, 1], beta=0, params={"beta": 0}, label="ilrec[beta=0]", **more)
    ablations = reproduce(published("ilrec-table2"), [plain, without])
    assert cell(ablations, "instrument", "semantic-id", "ilrec", "hr@10").runs == [plain.id]
    assert cell(ablations, "instrument", "semantic-id", "ilrec w/o CPO", "hr@10").runs == [without.id]
    assert cell(ablations, "instrument", "semantic-id", "ilrec w/o CPD", "hr@10").verdict == "not run"
    grid = reproduce(published("ilrec-table6"), [plain, without])
    # the default beta is on the grid
    assert cell(grid, "instrument", "semantic-id", "ilrec beta=0.1", "hr@10").runs == [plain.id]
    assert cell(grid, "instrument", "semantic-id", "ilrec beta=0.2", "hr@10").verdict == "not run"


def test_of_several_runs_the_one_closest_to_the_paper_is_taken(make_bundle: MakeBundle) -> None:
    more = {"dataset": "instrument", "statistics": INSTRUMENT}
    small = [make_bundle("sft", [1, 0], seed=s, llm=llm("title", backbone="tiny"), **more) for s in range(3)]
    large = make_bundle("sft", [0, 0], llm=llm("title"), **more)
    cells = reproduce(published("ilrec-table1"), [*small, large])
    assert cell(cells, "instrument", "title", "sft", "hr@5").runs == [large.id]


def test_hours_and_epochs_are_counted_with_the_parent(make_bundle: MakeBundle) -> None:
    more = {"dataset": "instrument", "statistics": INSTRUMENT}
    sft = make_bundle("sft", [1, 0], llm=llm("title", epochs=5.0), **more)
    sdpo = make_bundle("sdpo", [1, 0], llm=llm("title", epochs=3.0), parent=sft.spec.fit.id, **more)
    once = {"llm": llm("title", epochs=1.0), "parent": sft.spec.fit.id, "fit_params": {"iterations": 3}}
    sprec = make_bundle("sprec", [1, 0], **once, **more)
    cells = reproduce(published("ilrec-table5"), [sft, sdpo, sprec])
    epochs = cell(cells, "instrument", "any", "sdpo", "train_epochs_total")
    assert epochs.ours == OurNumber(8.0, predicted=(8.0, 8.0))
    assert epochs.verdict == "agrees"
    # five of SFT, and three iterations of an epoch of SFT and one of DPO
    rounds = cell(cells, "instrument", "any", "sprec", "train_epochs_total")
    assert (rounds.ours and rounds.ours.value, rounds.verdict) == (11.0, "agrees")
    hours = cell(cells, "instrument", "any", "sdpo", "train_time_hours")
    assert hours.ours is not None
    assert hours.ours.value == pytest.approx(2.0 / 3600)  # the fixture's two seconds
    assert cell(cells, "instrument", "any", "sdpo", "sampling_processes").verdict == "not measured"


def test_soft_starts_from_the_base_and_only_asks_its_parent(make_bundle: MakeBundle) -> None:
    counts = {"users": 11658, "items": 5335, "interactions": 196508}
    more = {"dataset": "soft-game", "statistics": counts, "protocol": {"name": "soft"}}
    fitted = llm("title", backbone="llama-3.2-3b", train={"epochs": 7.0, "select": "best"})
    sft = make_bundle("sft", [0] * 100, llm=fitted, **more)
    for init, causes in (("base", ("unknown",)), ("sft", ("budget",))):
        start = {"llm": fitted, "parent": sft.spec.fit.id, "fit_params": {"init": init}}
        soft = make_bundle("soft", [0] * 100, **start, **more)
        found = cell(reproduce(published("soft-table2"), [sft, soft]), "soft-game", "title", "soft", "hr@5")
        assert found.causes == causes


def test_runs_off_the_protocol_are_set_beside_nothing(make_bundle: MakeBundle) -> None:
    one = make_bundle("sasrec", [1, 0], dataset="instrument", off_protocol=True)
    assert {c.verdict for c in reproduce(published("ilrec-table1"), [one])} == {"not run"}


def test_numbers_that_no_ranking_gives_are_found() -> None:
    # from 5 to 10 the gain is between 0.01 / log2(11) = 0.0029 and 0.01 / log2(7) = 0.0036, give or take
    # 0.0001 for each rounded difference
    values = {"hr@5": 0.05, "hr@10": 0.06, "ndcg@5": 0.03}
    assert possible({**values, "ndcg@10": 0.0329})
    assert possible({**values, "ndcg@10": 0.0336})
    assert not possible({**values, "ndcg@10": 0.0326})
    assert not possible({**values, "ndcg@10": 0.0339})
    # all hits at rank 10 give 0.06 / log2(11) = 0.0173, all at rank 1 give 0.06
    assert possible({"hr@10": 0.06, "ndcg@10": 0.0174})
    assert not possible({"hr@10": 0.06, "ndcg@10": 0.0170})
    assert not possible({"hr@10": 0.06, "ndcg@10": 0.0603})


def test_the_impossible_rows_of_the_tables_are_marked() -> None:
    marked = {
        (name, one.dataset, one.paradigm, one.method)
        for name in ("ilrec-table1", "soft-table2")
        for one in reproduce(published(name), [])
        if one.impossible
    }
    assert len(marked) == 19
    assert ("ilrec-table1", "art", "none", "gru4rec") in marked  # HR@10 - HR@5 0.0134, NDCG 0.0141: more
    assert ("soft-table2", "game", "none", "sasrec") not in marked  # its dataset is another: soft-game
    assert ("soft-table2", "soft-game", "none", "sasrec") in marked
    assert all(paradigm != "semantic-id" for _, _, paradigm, _ in marked)
    assert line(PaperCell(**{**blank(), "impossible": True}))[2] == "0.1000 !"


def blank() -> dict[str, Any]:
    numbers = {"published": 0.1, "ours": None, "ratio": None, "gain_published": None, "gain": None}
    names = {
        "dataset": "a",
        "paradigm": "b",
        "method": "c",
        "metric": "hr@5",
        "verdict": "not run",
        "gain_verdict": None,
    }
    return {**numbers, **names, "impossible": False, "causes": (), "runs": [], "seeds": []}


def test_no_stated_backbone_means_none_that_can_differ(make_bundle: MakeBundle) -> None:
    more = {"dataset": "instrument", "statistics": INSTRUMENT}
    small = make_bundle("sasrec", [1] * 50, fit_params={"dim": 64}, **more)
    runs = [make_bundle("sasrec", [0] * 50, seed=seed, fit_params={"dim": 128}, **more) for seed in (0, 1)]
    found = cell(
        reproduce(published("ilrec-table1"), [small, *runs]), "instrument", NO_METHOD, "sasrec", "hr@5"
    )
    assert (found.verdict, found.causes, found.seeds) == (
        "lower",
        ("unknown",),
        [0, 1],
    )  # 128 as in the paper


def test_of_a_grid_the_row_with_the_best_validation_stands(make_bundle: MakeBundle) -> None:
    """Test ranks point the other way."""
    found = {}
    for rate, valid, ranks in ((1e-3, 0.05, [1, 1]), (2e-3, 0.07, [0, 0]), (3e-3, 0.06, [1, 0])):
        curve = f'{{"valid_ndcg_at_10": 0.01}}\n{{"valid_ndcg_at_10": {valid}}}\n{{"step": 3}}\n'
        found[rate] = make_bundle(
            "sasrec",
            ranks,
            dataset="instrument",
            fit_params={"dim": 128, "lr": rate},
            params={"dim": 128, "lr": rate},
            curve=curve,
            statistics=INSTRUMENT,
        )
    cells = reproduce(published("ilrec-table1"), list(found.values()))
    assert cell(cells, "instrument", NO_METHOD, "sasrec", "hr@5").runs == [found[2e-3].id]
