"""An OpenID provider of the company's own: who its people are, what its tokens say, which role that gives."""
