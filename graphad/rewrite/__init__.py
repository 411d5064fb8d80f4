"""Graph to Graph: canonical form, algebra, common subexpressions and dead code in one replay."""
