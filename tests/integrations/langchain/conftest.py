import pytest

pytest.importorskip("langchain_openai")
