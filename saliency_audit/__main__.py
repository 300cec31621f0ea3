"""``python -m saliency_audit``."""

from saliency_audit.cli import main

if __name__ == "__main__":
    main()
