"""Re-rating: stored calls are priced anew by the book as it is now, with a preview first and every call's old and new kept."""
