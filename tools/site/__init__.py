"""The site of the documentation: the project's own pages with search, diagrams and references."""
