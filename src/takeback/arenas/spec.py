"""What a user says of data, by name: a mapping in YAML that is checked field by field."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from takeback.run.errors import TakebackError, unknown_name

TASKS: Final = "lm-eval"
"""How the text of an arena of evaluation tasks begins: `lm-eval:TASK`."""


class Spec(BaseModel):
    """Fields that a mapping gives, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def of(cls, told: Any, source: str) -> Self:
        """Check a mapping.

        Raises:
            UnknownName: a field that there is not.
            TakebackError: a field is missing or wrong.
        """
        if not isinstance(told, dict):
            needed = ", ".join(f"{name}:" for name, field in cls.model_fields.items() if field.is_required())
            raise TakebackError(f"{source} must be a mapping with {needed} and what else there is to say")
        for name in told:
            if name not in cls.model_fields:
                raise unknown_name(f"field of {source}", str(name), cls.model_fields)
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise TakebackError(f"{source}: {where}: {first['msg'].lower()}") from None
