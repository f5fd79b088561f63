"""Labels of a call in its body: `metadata.tags`."""

from gatewayz.core.labels import parse_tags
from gatewayz.dialects.kit.fields import Fields


def tags_from_metadata(fields: Fields) -> tuple[str, ...]:
    """Takes `metadata.tags` out of the fields: texts, or one text with commas between.

    What else stands in `metadata` is the client's own and stays there. Faults: `bad_request`.
    """
    metadata = fields.rest.get("metadata")
    if not isinstance(metadata, dict) or "tags" not in metadata:
        return ()
    inner = Fields(metadata, "metadata.")
    texts = inner.texts("tags")
    if inner.rest:
        fields.rest["metadata"] = inner.rest
    else:
        del fields.rest["metadata"]
    return parse_tags((word for text in texts for word in text.split(",")), "metadata.tags")
