"""Texts that tokenizers get wrong: every script of Unicode, emoji, white space, control characters, source code."""

from __future__ import annotations

import unicodedata

SCRIPTS = {
    "Latin": "The quick brown fox isn't jumping over 13 lazy dogs, is it?",
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Vietnamese": "Tiếng Việt có nhiều dấu thanh",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "Cyrillic": "Съешь же ещё этих мягких французских булок",
    "Hebrew": "דג סקרן שט לו בים זך",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم",
    "Devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "Bengali": "আমার সোনার বাংলা",
    "Tamil": "யாமறிந்த மொழிகளிலே",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Georgian": "აბგდევზთ იკლმნოპ",
    "Armenian": "Բել դղյակի ձախ ժամն",
    "Amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ",
    "Khmer": "ខ្ញុំអាចញ៉ាំកញ្ចក់បាន",
    "Chinese": "視野無限廣,窗外有藍天。",
    "Japanese": "いろはにほへと ちりぬるを カタカナ 漢字",
    "Korean": "키스의 고유조건은 입술끼리 만나야 하고",
    "decomposed": unicodedata.normalize("NFD", "Ångström café 키스"),
    "Gothic": "𐌼𐌰𐌲 𐌲𐌻𐌴𐍃",
    "cuneiform": "𒀀𒀁𒀂",
    "fullwidth": "ＡＢＣ　１２３ ﬁ ﬀ ½ № ™",
    "mathematics": "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β, 𝔘𝔫𝔦",
}
EMOJI = ["👩‍👩‍👧‍👦", "👍🏽 ok", "🇩🇪🇯🇵", "☕️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷🏾‍♀️🤷", "😀" * 5]
SPACES = [
    "", " ", "  ", "   a", "a ", "a  b", " a b ", "\n", "\n\n\n", "a\n\n b", "\t\tx", "\r\n", " \n \t ", "a\u00a0b",
    "a\u3000b", "\u2003em", "zero\u200bwidth", "\ufeffbom", "    four", "     five",
    "x" + " " * 40 + "y", "▁", "▁▁a", "a▁ b",
]  # fmt: skip
CONTROLS = [
    "a\x00b",
    "\x01\x02\x1b[31m",
    "\x7f",
    "\x85",
    "\u2028x",
    "\u202eabc",
    "\ufffd",
    "\ufffe",
    "\U0010ffff",
    "a\u0301\u0302",
]
CODE = [
    "def f(x):\n    return x**2  # squares\n", 'print("it\'s", 1_000, 0xFF)', "if(a<b&&c>d){x+=1;}",
    "<b>bold</b> &amp;",
    "https://example.org/a?b=c%20d#e", "WE'LL, we'Ll; don't DON'T", "1234567890 12,345.67", "camelCaseXMLHttp_snake",
    "'s 's's ''", "a/b\\c", "...!!!???", "<0x41> <unknown>",
]  # fmt: skip
TEXTS = [*SCRIPTS.values(), *EMOJI, *SPACES, *CONTROLS, *CODE, " ".join(SCRIPTS.values())]
