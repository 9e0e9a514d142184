"""What the guides show is what happens: every block of Python runs, and every command is understood."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest
import torch

from kexue.cli import main
from kexue.data import generated_text

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ["guide/model.md", "guide/text.md", "guide/article.md", "zh/model.md", "zh/text.md", "zh/article.md"]


def blocks(name: str, language: str) -> list[str]:
    text = (DOCS / name).read_text(encoding="utf-8")
    fences = re.findall(r"^```(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [content for kind, content in fences if kind == language]


@pytest.fixture
def small_models(monkeypatch):
    """Small untrained models and a tokenizer of characters, in place of those that would be fetched."""
    import transformers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "一": 3}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {"vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    writer = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, pad_token_id=0))
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    classifier = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=9, **small))
    for name, value in [
        ("AutoTokenizer", tokenizer),
        ("AutoModelForCausalLM", writer),
        ("AutoModelForSequenceClassification", classifier),
    ]:
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", lambda _, value=value: value)


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.usefixtures("small_models")
def test_every_block_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (tmp_path / "reviews.txt").write_text("\n".join(generated_text(20_000).texts), encoding="utf-8")
    found, results = blocks(name, "python"), {}
    assert found
    for block in found:
        exec(compile(block, name, "exec"), results)
    if "model" in name:
        assert results["inputs"].shape == (64, 4)
        assert torch.isfinite(results["loss"])
        torch.testing.assert_close(results["joint"].mean(0), results["prior"], atol=0.02, rtol=0)
    if "text" in name:
        assert "".join(results["cut"]) == "下雨天留客天"
    if "article" in name:
        assert "reproduced" in capsys.readouterr().out


def commands_of(name: str) -> list[list[str]]:
    """The calls of kexue in the blocks that are no Python, without what comes before or after in the line."""
    lines = [line for block in blocks(name, "") for line in block.splitlines()]
    calls = [re.search(r"(?:^|\| )kexue ([^#>]+)", line) for line in lines]
    return [shlex.split(call[1]) for call in calls if call]


def help_of(arguments: list[str]) -> list[str]:
    """The call that explains this one."""
    command, *rest = arguments
    return [command, *rest[: {"report": 0, "list": 0}.get(command, 1)], "--help"]


@pytest.mark.parametrize("name", [name for name in GUIDES if "model" not in name])
def test_every_command_is_understood(name, tmp_path, monkeypatch, capsys):
    """Those that answer at once are called; of the others, the help knows each option."""
    monkeypatch.chdir(tmp_path)
    calls = commands_of(name)
    assert len(calls) >= 6
    for arguments in calls:
        at_once = arguments[0] in ("show", "cite", "list")
        with contextlib.suppress(SystemExit):
            assert main(arguments if at_once else help_of(arguments)) == 0, arguments
        shown = capsys.readouterr().out
        assert all(option in shown for option in arguments if option.startswith("--")), arguments


def test_both_languages_show_the_same_code():
    for name in ("model", "text", "article"):
        english, chinese = blocks(f"guide/{name}.md", "python"), blocks(f"zh/{name}.md", "python")
        assert len(english) == len(chinese)
        for one, other in zip(english, chinese, strict=True):
            names = [re.findall(r"^(?:from \S+ )?import .*", block, flags=re.MULTILINE) for block in (one, other)]
            assert names[0] == names[1]
