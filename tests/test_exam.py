"""The paper to practise on."""

import re

import pytest

import exam
from lab.plumbing.files import LabError


def test_every_notebook_has_questions_and_there_are_fifty():
    every = exam.questions()
    titles = {title[:2] for title, *_ in every}
    assert titles == {"01", "02", "03", "04", "05"} and len(every) >= 50
    assert all(
        len(question) > 20 and len(answer) > 20 for *_, question, answer in every
    )


def test_a_paper_has_ten_different_questions_and_then_their_answers():
    asked, answered = exam.paper(seed=7).split("\n## Answers\n")
    by_question = {question: answer for *_, question, answer in exam.questions()}
    drawn = [question for question in by_question if question in asked]
    assert len(drawn) == 10
    assert all(by_question[question] in answered for question in drawn)
    numbers = [str(i) for i in range(1, 11)]
    for text in (asked, answered):
        assert re.findall(r"^\*\*(\d+)\.\*\* \*\(", text, flags=re.M) == numbers


def test_the_same_number_gives_the_same_paper():
    assert exam.paper(seed=1) == exam.paper(seed=1) != exam.paper(seed=2)


def test_a_page_has_the_paper_and_no_marks_of_a_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(exam, "ROOT", tmp_path)
    exam.main(["--seed", "7"])
    page = (tmp_path / "build" / "exam-7.html").read_text()
    assert "<h1" in page and "Practice paper 7" in page and "¶" not in page
    assert page.count("<strong>10.</strong>") == 2 and "<strong>11." not in page


def test_too_few_questions_are_one_sentence(monkeypatch):
    monkeypatch.setattr(exam, "QUESTIONS", 10_000)
    with pytest.raises(LabError, match="A paper needs 10000 questions; there are"):
        exam.paper(seed=0)
