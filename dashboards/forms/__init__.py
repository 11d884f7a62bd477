"""What people type into the pages, checked: forms without models."""
