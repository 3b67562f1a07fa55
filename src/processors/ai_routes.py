"""Who serves a model: names, aliases, and what is asked where one does not answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processors.ai_interfaces import Serving
from processors.errors import AiError

ANY_MODEL = "*"
SHOWN_MODELS = 20


@dataclass(frozen=True, slots=True)
class Routes:
    """The way from a model's name to those who serve it.

    Args:
        servings: every model of every provider, in the order in which they are asked; `*` is any name.
        aliases: other names of models.
        fallbacks: models that are asked where one does not answer, in order.
    """

    servings: Sequence[Serving] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def of(self, model: str, *, fallbacks: bool) -> list[Serving]:
        """Return who serves a model, in the order in which they are asked.

        Args:
            model: its name or an alias.
            fallbacks: whether other models will do; for vectors they will not, because each model has its own space.

        Raises:
            AiError: nobody serves it (`model_missing`).
        """
        name = self.aliases.get(model, model)
        found = self._serving(name)
        if not found:
            raise AiError(f"No provider serves the model {model!r}: {self._cure()}.", "model_missing")
        if fallbacks:
            others = self.fallbacks.get(model) or self.fallbacks.get(name) or ()
            found += [serving for other in others for serving in self._serving(self.aliases.get(other, other))]
        return found

    def _serving(self, name: str) -> list[Serving]:
        """Return who names the model; where nobody does, who serves any."""
        named = [serving for serving in self.servings if serving.model == name]
        serving_any = [Serving(one.provider, one.terms, name) for one in self.servings if one.model == ANY_MODEL]
        return named or serving_any

    def _cure(self) -> str:
        if not self.servings:
            return (
                "set OPENAI_API_KEY, or OPENAI_BASE_URL for an endpoint of your own; with Ollama: "
                "`ollama serve & ollama pull llama3.2`, OPENAI_BASE_URL=http://localhost:11434/v1 and "
                "OPENAI_MODEL=llama3.2"
            )
        names = sorted({serving.model for serving in self.servings} | set(self.aliases))
        return f"AI_PROVIDERS and AI_ALIASES name {', '.join(names[:SHOWN_MODELS])}"
