"""What fails."""

from __future__ import annotations


class SockeyeError(Exception):
    """The server, or the network, did something else than what was asked for.

    `code` is the server's word for it (`forbidden`, `unauthorized`, `too_large`, …), or `None` when there was no answer of the
    server. `status` is the HTTP status, if there was one. `is_transient` says whether the same may work another time.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry: bool | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self._retry = retry

    @property
    def is_transient(self) -> bool:
        if self._retry is not None:
            return self._retry
        if self.status is not None:
            return self.status == 429 or self.status >= 500
        return self.code is None
