"""Labels in a body: tags in the request's `metadata`, where its dialect has such an object."""

from gatewayz.core.labels import tags_of
from gatewayz.dialects.fields import Fields


def tags_from(fields: Fields) -> tuple[str, ...]:
    """Takes `metadata.tags` out of the fields: texts, or one text with commas between. Faults: `bad_request`.

    What else stands in `metadata` is the client's own and stays there.
    """
    given = fields.rest.get("metadata")
    if not isinstance(given, dict) or "tags" not in given:
        return ()
    inner = Fields(given, "metadata.")
    texts = inner.texts("tags")
    if inner.rest:
        fields.rest["metadata"] = inner.rest
    else:
        del fields.rest["metadata"]
    return tags_of((word for text in texts for word in text.split(",")), "metadata.tags")
