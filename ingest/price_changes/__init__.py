"""What a changed price means for an organization: its bill, its forecasts, its teams; told to those who look after prices."""
