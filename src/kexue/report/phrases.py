"""What the pages say besides the texts of the catalogue, in English and Chinese."""

from __future__ import annotations

__all__ = ["PHRASES", "SOURCES", "STATUSES", "VERDICTS"]

PHRASES: dict[str, tuple[str, str]] = {
    "articles_by_date": ("All articles by date", "按日期排列的全部文章"),
    "bound": ("bound", "界限"),
    "by_hand": (
        "Nothing on this page was typed in by hand: every figure was measured by the command below.",
        "本页的数字全部由下面的命令测得，没有一个是手工填写的。",
    ),
    "citation": ("Citation", "引用"),
    "claim": ("Claim", "论断"),
    "command": ("Command", "命令"),
    "configuration": ("Configuration", "配置"),
    "contents": ("Contents", "目录"),
    "data": ("Data", "数据"),
    "difference": ("measured − bound, mean and 95 % interval", "测得值 − 界限：均值与 95% 区间"),
    "every_seed": ("every seed", "各随机种子"),
    "example": ("an example, without a study", "示例，无实验"),
    "design": ("the design of these pages", "本页面的设计"),
    "figure_withheld": (
        "This figure shows items of a data set whose licence does not let pages print them.",
        "该图含有数据集的样本，而该数据集的许可不允许在页面上刊印，故略去。",
    ),
    "figures": ("Figures", "图"),
    "gallery": ("Gallery", "总览"),
    "gallery_title": ("What the articles claim, measured again", "文章的论断，重新测量"),
    "gallery_lead": (
        "Unofficial parts and re-measured claims for the articles of 科学空间 (Scientific Spaces, kexue.fm). "
        "Each card tells what was found; each page tells how, with every seed's figure.",
        "科学空间（kexue.fm）文章的非官方实现与复测。结论见卡片，做法与每个随机种子的测得值见各篇文章的页面。",
    ),
    "idea": ("The idea", "要点"),
    "indicative": (
        "Indicative: a quick run shows, and decides nothing. The standard preset decides.",
        "仅供参考：quick 只作演示，不作判定；判定以 standard 为准。",
    ),
    "indicative_word": ("indicative: ", "参考："),
    "machine": ("Machine", "机器"),
    "measured": ("measured", "测得"),
    "no_claims": ("This run has no verdicts.", "这次运行没有结论。"),
    "no_verdict": ("built, no shipped verdict yet", "已实现，尚无随包发布的结论"),
    "not_measured": ("not measured", "未测量"),
    "nothing_found": ("Nothing matches.", "没有匹配的文章。"),
    "only_ours": ("our own bounds only", "仅有本库自设的界限"),
    "parts": ("Parts", "部件"),
    "planned": ("planned", "计划中"),
    "prefer_instead": ("Prefer instead", "更合适的选择"),
    "preset": ("preset", "预设"),
    "print_note": ("kexue, unofficial", "kexue，非官方"),
    "quick_takes": ("quick takes", "quick 用时"),
    "reproduce": ("How to repeat it", "如何复现"),
    "run_of": ("run", "运行"),
    "scale": ("scale", "规模"),
    "search": ("Search titles, summaries, ids", "搜索标题、摘要、编号"),
    "seconds": ("s", "秒"),
    "seeds": ("Seeds", "随机种子"),
    "shipped_verdict": ("Shipped verdict", "随包发布的结论"),
    "skip": ("Skip to the content", "跳到正文"),
    "started": ("Started", "开始时间"),
    "study": ("Study", "实验"),
    "tables": ("Tables", "表"),
    "took": ("Took", "用时"),
    "three_lines": ("In three lines", "三行代码"),
    "use_when": ("Use when", "适用场合"),
    "verdicts": ("Verdicts", "结论"),
    "versions": ("Versions", "版本"),
    "your_run": ("Your own run", "你自己的运行"),
    "your_runs": ("Your runs", "你的运行"),
}
"""Phrase by key: English, Chinese."""

VERDICTS: dict[str, tuple[str, str, str]] = {
    "reproduced": ("✓", "reproduced", "已复现"),
    "not reproduced": ("✗", "not reproduced", "未复现"),
    "undecided": ("?", "undecided", "未定"),
}
"""Verdict: mark, English, Chinese."""

STATUSES: dict[str, tuple[str, str]] = {
    "running": ("running", "运行中"),
    "interrupted": ("interrupted", "已中断"),
    "finished": ("finished", "已完成"),
    "failed": ("failed", "失败"),
}
"""State of a run: English, Chinese."""

SOURCES: dict[str, tuple[str, str]] = {
    "article": ("the article", "文章"),
    "paper": ("the paper", "论文"),
    "ours": ("our own bound", "本库自设的界限"),
}
"""Source of a claim: English, Chinese."""
