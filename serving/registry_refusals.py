"""What a registry refuses, in one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

#: how a model comes by an alias that it does not have
_REMEDIES = {
    "champion": "`recsys promote {name} [VERSION] --data NAME` makes a version champion that passes the gates, and "
    "`recsys promote {name} [VERSION] --no-gates --why TEXT` any that can be loaded",
    "challenger": "the next version that is trained with --register {name} is challenger",
    "previous": "the next `recsys promote {name}` makes the champion that was previous",
}
_OTHERWISE = "MLflow gives it: MlflowClient().set_registered_model_alias({name!r}, {alias!r}, VERSION)"


def refusal(
    error: Exception, name: str, alias: str | None, version: str | None, store: str, known: Iterable[str] = ()
) -> str:
    """What MLflow's refusal of a model means.

    Args:
        error: What MLflow raised.
        name: Of the model that was asked for.
        alias: That was asked for,
        version: or the version.
        store: That was asked.
        known: What there is of what was asked for: the model's aliases or versions, or other models.
    """
    said = " ".join(str(error).split())[:200]
    if "Max retries exceeded" in said or "timed out" in said:
        return f"the model registry {store} does not answer"
    if "alias" in said.lower():
        there = sorted(known)
        has = f"; its aliases are {', '.join(there)}" if len(there) > 1 else f"; its only alias is {', '.join(there)}"
        remedy = _REMEDIES.get(str(alias), _OTHERWISE).format(name=name, alias=alias)
        return f"the model {name!r} has no alias {alias!r} in {store}{has if there else ''}: {remedy}"
    if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
        what = f"version {version} of a model" if version is not None and "Version" in said else "model"
        others = ", ".join(known)
        return f"there is no {what} {name!r} in {store}" + (f"; there is {others}" if others else "")
    return f"the model registry {store} refuses {name!r}: {said}"
