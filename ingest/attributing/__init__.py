"""Attribution of stored calls anew: by the rules and names as they are now, with a preview first and every call's old and new kept."""
