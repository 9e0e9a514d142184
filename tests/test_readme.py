"""What the READMEs show is what happens."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from kexue.cli import main
from kexue.data import digits, generated_text

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_parts_in_three_lines_each_and_a_loop(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    *found, words, loop = blocks(path)
    assert len(found) == 4
    results, models = {}, []
    torch.manual_seed(0)
    for block in found:
        assert len([line for line in block.splitlines() if line.strip()]) <= 3
        exec(compile(block, path.name, "exec"), results)
        models.append(results.get("model"))
    assert results["samples"].shape == (16, 64)
    (tmp_path / "reviews.txt").write_text("\n".join(generated_text(20_000).texts), encoding="utf-8")
    assert len([line for line in words.splitlines() if line.strip()]) <= 3
    exec(compile(words, path.name, "exec"), results)
    for _ in range(2):
        exec(compile(loop.replace("steps=1500", "steps=15"), path.name, "exec"), results)
        assert results["trainer"].step_number == 15
        assert sorted(entry.name for entry in (tmp_path / "digits-eae").iterdir()) == [
            "final.safetensors",
            "metrics.jsonl",
        ]
    assert [round(p, 4) for p in results["die"].p.tolist()][::5] == [0.0544, 0.3475]
    assert round(results["die"].entropy.item(), 4) == 1.6136
    test = digits(split="test")
    assert round(100 * models[1].score(test.images, test.labels), 1) == 96.7
    printed = capsys.readouterr().out
    assert "solidity" in printed
    assert float(re.search(r"tensor\((2\.\d+)\)", printed)[1]) == pytest.approx(2.84, abs=0.1)


def lines_of(path: Path) -> dict[str, str]:
    """The lines of the tables, and the module that each is from."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(.+?)` \| `(kexue\.[\w.]+)` \|", text, flags=re.MULTILINE))


def test_one_line_each(tmp_path, monkeypatch):
    """Each line works with its import; what it changes of a model can be taken back."""
    monkeypatch.chdir(tmp_path)
    from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

    from kexue.decoding import eps_for_termination
    from kexue.studies.masked_models import listed_tokenizer

    lines = lines_of(READMES[0])
    assert lines == lines_of(READMES[1])
    assert len(lines) == 25
    rng = np.random.default_rng(0)
    found = {
        "scores": torch.tensor([[2.0, 1.0, 0.0]]),
        "mean": torch.zeros(5, 3),
        "cov_p": torch.eye(3).expand(5, 3, 3),
        "cov_q": 4 * torch.eye(3).expand(5, 3, 3),
        "a": torch.tensor([0.5, 0.5]),
        "b": torch.tensor([0.25, 0.75]),
        "cost": torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
        "logits": torch.tensor([1.0, -1.0]),
        "labels": torch.tensor([1, 0]),
        "x": rng.normal(size=(60, 3)),
        "y": np.arange(60) % 3,
        "counts": rng.poisson(1.0, (60, 30)),
        "probs": rng.dirichlet(np.ones(3), 60),
        "prior": np.array([0.5, 0.3, 0.2]),
        "frequencies": np.array([0.3, 0.3, 0.4]),
        "eps_for_termination": eps_for_termination,
    }
    sizes = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    tokenizer = listed_tokenizer("甲乙丙丁")
    for line, module in lines.items():
        torch.manual_seed(0)
        name = re.match(r"\w+", line)[0]
        config = GPT2Config(vocab_size=30, n_layer=1, n_head=2, n_embd=16, bos_token_id=0, eos_token_id=0)
        model: torch.nn.Module = GPT2LMHeadModel(config).eval()
        if "mlm" in line:
            model = BertForMaskedLM(BertConfig(**sizes)).eval()
        given = {
            name: getattr(importlib.import_module(module), name),
            "model": model,
            "optimizer": torch.optim.SGD(model.parameters(), 0.1),
            "classifier": BertForSequenceClassification(BertConfig(**sizes)).eval(),
            "tokenizer": tokenizer,
            "text": "甲",
            "items": range(20),
        }
        ids = torch.tensor([[5, 6, 7]])
        before = model(ids).logits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of noise
            result = eval(line, {**found, **given})
        after = model(ids).logits
        if hasattr(result, "remove"):
            result.remove()
            assert torch.equal(model(ids).logits, before), line
        else:
            assert torch.equal(after, before), line
            assert result is not None


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_commands_exist(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"^kexue (list|show \d+|data list|cite \d+)\b", text, flags=re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert main(command.split()) == 0
    assert capsys.readouterr().out


def test_the_first_line_says_what_it_is():
    first = READMES[0].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("Unofficial PyTorch parts, and re-measured claims, for the articles of 科学空间")
