import pytest

from edgegal.cli.output import print_table


def printed(capsys, header, rows):
    print_table(header, rows)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_every_row_is_one_line_in_a_pipe(capsys):
    long = "agrees with float on 0.998 of 400 pictures of the evaluation set, drawn from the test split; " * 5
    lines = printed(capsys, ["variant", "accuracy"], [["tflite-int8", long], ["onnx-fp32", long]])
    assert [line.split()[0] for line in lines[2:]] == ["tflite-int8", "onnx-fp32"]
    assert all(line.endswith(long.rstrip()) for line in lines[2:])


def test_columns_of_numbers_stand_right_and_words_left(capsys):
    _, _, first, second = printed(capsys, ["name", "ms"], [["fp32", "5.10"], ["int8-dynamic", "12.75"]])
    assert first.endswith(" 5.10")
    assert len(first) == len(second)
    assert first.startswith("fp32 ")


def test_a_gap_does_not_make_numbers_words(capsys):
    lines = printed(capsys, ["name", "ms"], [["a", "-"], ["b", "12.75"], ["c", "-0.5"]])
    assert [line[-1] for line in lines[2:]] == ["-", "5", "5"]
    assert len({len(line) for line in lines[2:]}) == 1


@pytest.mark.parametrize("text", ["[bold]M51[/bold]", "NGC 3344 [host]", "a:smile:b", "[/]"])
def test_text_is_printed_as_it_is(capsys, text):
    assert any(text in line for line in printed(capsys, ["name"], [[text]]))


def test_a_table_of_nothing_is_its_header(capsys):
    assert printed(capsys, ["variant", "size"], [])[0].split() == ["variant", "size"]


def test_control_characters_do_not_reach_the_terminal(capsys):
    assert "\x1b" not in "".join(printed(capsys, ["name"], [["a\x1b[2Jb"]]))
