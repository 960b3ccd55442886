"""Every decoder, in the order in which they are asked; the first that recognises the bytes wins.

Signatures that chance does not write come first, then texts from the particular to the general,
then what can only be told by reading it to the end. A new decoder is one line here.
"""

from __future__ import annotations

from cachectl.values import (
    binary,
    compression,
    headers,
    java,
    json_text,
    messagepack,
    php,
    pickles,
    scalars,
    text,
    tokens,
)
from cachectl.values.sample import Decoder

DECODERS: tuple[Decoder, ...] = (
    binary.decode_empty,
    compression.decode,
    java.decode,
    headers.decode_rails,
    headers.decode_dotnet,
    headers.decode_ruby,
    binary.decode_hyperloglog,
    text.decode_utf16,
    json_text.decode,
    scalars.decode,
    php.decode,
    pickles.decode,
    tokens.decode_jwt,
    tokens.decode_base64,
    text.decode_utf8,
    messagepack.decode,
    text.decode_latin1,
)
"""All but `binary.decode_binary`, which takes what nobody else does."""
