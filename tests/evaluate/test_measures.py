from __future__ import annotations

import pytest
import pytrec_eval

from reranker_kd.errors import InputError
from reranker_kd.evaluate.measures import DEFAULT_MEASURES, parse_measure, parse_measures
from reranker_kd.evaluate.registry import MEASURES, Summary
from reranker_kd.evaluate.trec_eval import NICKNAMES, TREC_EVAL_MEASURES


@pytest.mark.parametrize(
    ("name", "base", "cutoff"),
    [
        ("nDCG@10", "ndcg_cut", "10"),
        ("ndcg@10", "ndcg_cut", "10"),
        ("nDCG", "ndcg", ""),
        ("AP", "map", ""),
        ("MAP", "map", ""),
        ("AP@100", "map_cut", "100"),
        ("RR", "recip_rank", ""),
        ("RR@10", "", "10"),
        ("mrr@10", "", "10"),
        ("P@5", "P", "5"),
        ("R@1000", "recall", "1000"),
        ("Judged@10", "", "10"),
        ("rprec", "Rprec", ""),
        ("Bpref", "bpref", ""),
        ("IPrec@0.1", "iprec_at_recall", "0.10"),
        ("NumRelRet", "num_rel_ret", ""),
        ("map", "map", ""),
        ("ndcg_cut_10", "ndcg_cut", "10"),
        ("ndcg_cut.10", "ndcg_cut", "10"),
        ("NDCG_CUT_10", "ndcg_cut", "10"),
        ("P_30", "P", "30"),
        ("recall.1000", "recall", "1000"),
        ("recip_rank", "recip_rank", ""),
        ("iprec_at_recall_0.20", "iprec_at_recall", "0.20"),
        ("Rprec_mult.1", "Rprec_mult", "1.00"),
    ],
)
def test_name(name: str, base: str, cutoff: str) -> None:
    measure = parse_measure(name)
    assert (measure.name, measure.base, measure.cutoff, measure.parameters) == (name, base, cutoff, "")


@pytest.mark.parametrize(
    ("name", "base", "parameters"),
    [
        ("set_F", "set_F", ""),
        ("set_F.2.0", "set_F", "2.0"),
        ("set_F_2.0", "set_F", "2.0"),
        ("utility.1,-1,0,0", "utility", "1,-1,0,0"),
        ("11pt_avg.0.2,0.5,0.8", "11pt_avg", "0.2,0.5,0.8"),
        ("ndcg.1=3.5,2=9.0", "ndcg", "1=3.5,2=9.0"),
    ],
)
def test_name_with_parameters(name: str, base: str, parameters: str) -> None:
    measure = parse_measure(name)
    assert (measure.name, measure.base, measure.cutoff, measure.parameters) == (name, base, "", parameters)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("P.10,5", ["P_5", "P_10"]),
        ("P_5,10", ["P_5", "P_10"]),
        ("success", ["success_1", "success_5", "success_10"]),
        ("iprec_at_recall.0,.5,1.0", ["iprec_at_recall_0.00", "iprec_at_recall_0.50", "iprec_at_recall_1.00"]),
    ],
)
def test_one_name_for_several_measures(asked: str, given: list[str]) -> None:
    assert [measure.name for measure in parse_measures([asked])] == given
    with pytest.raises(InputError, match=f"{given[0]}, {given[1]}"):
        parse_measure(asked)


def test_each_name_is_measured_once_in_the_order_asked_for() -> None:
    names = ["R@100", "AP", "P.10,5", "AP", "P_5", "map"]
    assert [measure.name for measure in parse_measures(names)] == ["R@100", "AP", "P_5", "P_10", "map"]


@pytest.mark.parametrize("nickname", sorted(NICKNAMES))
def test_nickname_stands_for_what_trec_eval_gives_under_it(nickname: str) -> None:
    assert {m.base for m in parse_measures([nickname])} == (
        pytrec_eval.supported_nicknames[nickname] - {"runid", "relstring"}
    )


def test_registry_holds_all_figures_of_trec_eval() -> None:
    texts = {"runid", "relstring"}
    # pytrec_eval names what "all_trec" holds.
    not_in_all_trec = {"yaap"}
    assert {m.name for m in TREC_EVAL_MEASURES} == pytrec_eval.supported_measures - texts | not_in_all_trec


def test_every_registered_name_is_read_in_any_case() -> None:
    names = [declared.name for declared in TREC_EVAL_MEASURES]
    names += [name for name, entry in MEASURES.items() if entry.cutoff != "required"]
    names += [f"{name}@1" for name, entry in MEASURES.items() if entry.cutoff != "never"]
    for name in names:
        spellings = {(m.base, m.compute) for s in (name, name.lower(), name.upper()) for m in parse_measures([s])}
        assert len(spellings) == 1, name


def test_default_measures_are_known() -> None:
    assert [measure.name for measure in parse_measures(DEFAULT_MEASURES)] == list(DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("NumRet", Summary.SUM),
        ("gm_map", Summary.GEOMETRIC_MEAN),
        ("AP", Summary.MEAN),
        ("Judged@5", Summary.MEAN),
    ],
)
def test_summary(name: str, summary: Summary) -> None:
    assert parse_measure(name).summary is summary


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nDGC@20", "did you mean nDCG@20"),
        ("ndcg_cut10", "did you mean ndcg_cut_10"),
        ("bprf", "did you mean Bpref"),
        ("P@0", "whole numbers from 1"),
        ("P@1.5", "whole numbers from 1"),
        ("nDCG@１０", "whole numbers from 1"),
        ("R@99999999999999999999", "whole numbers from 1"),
        ("P.0", "whole numbers from 1"),
        ("P.5,", "whole numbers from 1"),
        ("iprec_at_recall.0.123", "at most two decimals"),
        ("utility.1,-1,0,2", "the last 0"),
        ("recip_rank.10", "takes no parameters"),
        ("Rprec@10", "Rprec takes no cutoff"),
        ("Judged", "Judged needs a cutoff"),
        ("R", "R needs a cutoff"),
        ("runid", "unknown measure"),
        ("", "nDCG@10"),
        ("xyz", "nDCG@10"),
    ],
)
def test_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint) as caught:
        parse_measure(name)
    assert repr(name) in str(caught.value)
