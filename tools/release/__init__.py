"""`make release`: what others install, built from what is committed, checked and tried as they would."""
