"""Set-up, first start and installation. Standard library only: most of it runs before anything is installed."""
