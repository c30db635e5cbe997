"""What root mean square norms of models differ in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NormForm:
    """What a module does behind the division by the root mean square.

    late_cast: the product with the weight is rounded to the rows' dtype; otherwise first its factor, then the product.
    one_more: the weight is stored less one.
    """

    late_cast: bool = False
    one_more: bool = False


PLAIN = NormForm()
