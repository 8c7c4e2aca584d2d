"""Elicitation: a policy asked in the form of the documents that its base was pretrained on, not in a chat template.

    answer ~ p( . | document of the kind of prompt, with the prompt's own words in its slots )

A base model that fails on a chat prompt may lack the skill or only the format. This baseline gives it the format: the
first form of `forms` that fits the prompt replaces it with a text that ends where its answer belongs (Brown et al.
2020, 2005.14165, wrote every task as a text to continue; Schick and Schütze 2021, 2001.07676, call such a form a
pattern). So the gain of a method over `base` has two parts: document - base is format, and method - document is what
tuning adds to a base that is asked well. `of` names a tuned method instead of the base: its score less that of the
base in the same form is the change of the skill itself.

A form does part of the task: it knows what the words of a prompt ask for, which chat tuning must teach. In some forms
the model first continues another document, and the result is a slot of the next one; forms that begin the answer begin
it for every policy alike. Scores are therefore those of a policy with this form, and a bound from below on its skill.

`general` asks every prompt as "Question: ... Answer:". `microworld` has a form for every kind of prompt of the embedded
models. A file of your own is a path (methods/README.md). Nothing is trained. Bare text is a document already and stays
as it is. Earlier turns of a conversation precede its last document with their answers. `first` and [word] are written
greedily, once for all samples; decoding costs name the answer alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, plugin_name, setting
from harness.records import TrainingData
from methods._document_forms import FORMS, forms_of, read_forms
from methods._document_policy import DocumentEncoder, DocumentPolicy
from methods.base import Base

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Document(Method):
    """The base, or a tuned method, asked in the form of pretraining documents."""

    trains = False

    of: Method = setting(Base(), "the method whose policy is asked")
    forms: str = setting("general", "the file of document forms: general, microworld or a path", folder=True)

    def __post_init__(self) -> None:
        """A policy gives what the asked one gives; a shipped file is named in the key, and its content is too."""
        if self.of.gives != type(self).gives:
            object.__setattr__(self, "gives", self.of.gives)
        if self.of.draws:
            object.__setattr__(self, "draws", True)
        object.__setattr__(self, "forms", FORMS.keyed(self.forms))

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact of the asked method."""
        return {"of": ArtifactSpec(self.of)}

    def check(self) -> None:
        """Refuse forms that are not usable, and a method whose policy reads no bare text."""
        self.of.check()
        read_forms(self.forms)
        if not {"text", "sample"} <= self.of.gives:
            raise UserError(
                f"of is {plugin_name(self.of)}, whose policy does not continue bare text",
                fix="Name a method that does, such as base, sft or lora.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write the forms."""
        content = json.dumps(read_forms(self.forms), indent=2, ensure_ascii=False)
        (out / "forms.json").write_text(content + "\n", "utf-8")
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The asked policy behind the forms."""
        file = artifact / "forms.json"
        forms = forms_of(json.loads(file.read_text("utf-8")), file)
        return DocumentPolicy(inputs["of"].load(), forms, DocumentEncoder(base, forms))
