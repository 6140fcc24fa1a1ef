"""The participant kit: who writes one writes its effects, and nothing else. People import it as `oms.kit`."""
