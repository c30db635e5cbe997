"""What a run leaves behind: the event journal, the results and the summary."""

from treereason.record.folder import folder_lock
from treereason.record.journal import Journal, read, read_timed
from treereason.record.results import Results
from treereason.record.summary import Summary

__all__ = ["Journal", "Results", "Summary", "folder_lock", "read", "read_timed"]
