"""`make prove`: hard limits under many processes, crashes and lost connections, watched from outside; the report is docs/proof.md."""
