"""A student enrols: seats and a library card side by side, the dean's approval, then it is final."""
