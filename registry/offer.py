"""A manifest as a registry offers it, checked before anything of it is believed."""

from actors.errors import InvalidManifest
from registry import manifests
from registry.digests import digest_of, parse_digest
from registry.manifests import Layer, Manifest, parse_manifest
from registry.model import LONGEST_TEXT_BYTES

_MEDIA_TYPES = {manifests.MANIFEST, "application/vnd.oci.image.manifest.v1+json"}
_TEXTS = {
    manifests.CONFIG,
    manifests.TEMPLATE,
    manifests.PROMPT,
    manifests.SYSTEM,
    manifests.PARAMETERS,
    manifests.MESSAGES,
    manifests.LICENSE,
}
_MAX_LAYERS = 4096
_MAX_BYTES = 1 << 46  # 64 TiB; no model is near it, and sums of sizes stay small integers


def read_offer(content: bytes, *, announced: str = "") -> Manifest:
    """Read a manifest from a registry.

    Args:
        content: its bytes.
        announced: the digest that the registry gave for them, if it gave one.

    Raises:
        InvalidManifest: it is corrupt, empty, of another kind, contradicts itself, or is not what was announced.
    """
    manifest = parse_manifest(content)
    if manifest.media_type not in _MEDIA_TYPES:
        raise InvalidManifest(f"the manifest is of the type {manifest.media_type[:100]!r}, which is no model's")
    if not manifest.layers:
        raise InvalidManifest("the manifest is empty: the model has no layers")
    if len(manifest.layers) > _MAX_LAYERS:
        raise InvalidManifest(f"the manifest has more than {_MAX_LAYERS} layers")
    sizes: dict[str, int] = {}
    for layer in (*manifest.layers, manifest.config):
        if sizes.setdefault(parse_digest(layer.digest), layer.size) != layer.size:
            raise InvalidManifest(f"the manifest gives two sizes for {layer.digest}")
        is_text = layer is manifest.config or layer.media_type in _TEXTS
        if is_text and layer.size > LONGEST_TEXT_BYTES:
            raise InvalidManifest(f"the manifest names a text of {layer.size} bytes, which is too long")
    if sum(sizes.values()) > _MAX_BYTES:
        raise InvalidManifest("the manifest names more bytes than any model has")
    if announced.startswith("sha256:") and announced != digest_of(content):
        raise InvalidManifest(f"the manifest is not the one that was announced as {announced[:80]}")
    return manifest


def blobs_of(manifest: Manifest) -> tuple[Layer, ...]:
    """Give each blob once, in the order in which they are pulled: the layers, then the configuration."""
    once = {parse_digest(layer.digest): layer for layer in (manifest.config, *reversed(manifest.layers))}
    return tuple(reversed(once.values()))
